"""Trajectory stores: writing, windows, statistics, loading, conversion."""
