"""Converters from public demonstration formats into a TrajectoryStore."""
