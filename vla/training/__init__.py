"""One readable training loop with exact resume."""
