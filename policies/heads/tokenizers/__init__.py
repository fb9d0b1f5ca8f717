"""Chunks as sequences of symbols, and back."""
