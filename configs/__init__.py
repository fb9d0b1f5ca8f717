"""Composition: the table of schemas and the Hydra YAML files."""
