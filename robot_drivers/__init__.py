"""Robot drivers, and the safety gate that every command crosses."""
