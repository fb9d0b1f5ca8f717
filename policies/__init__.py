"""Policies: backbones, heads, normalisation, adapters."""
