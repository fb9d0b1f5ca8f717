"""Emulated hardware: the vendors' own drivers talk to it as they talk to the real thing."""
