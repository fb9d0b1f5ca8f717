"""The core: what is true of every policy, environment and robot."""
