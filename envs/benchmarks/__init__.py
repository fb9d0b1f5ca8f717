"""Public benchmarks as Worlds, each behind its own extra."""
