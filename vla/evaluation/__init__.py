"""Honest evaluation: seeds, intervals, provenance, reports."""
