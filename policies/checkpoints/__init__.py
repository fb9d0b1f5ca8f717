"""Weights of public checkpoints under the names of this package."""
