"""Simulated worlds and their tasks."""
