"""The control loop: one rollout for simulation and robots."""
