"""Adapters: a few trained numbers beside weights that stay as they are."""
