"""Policies in few bits: recipes, the layers that compute with them, their files."""
