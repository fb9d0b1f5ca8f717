"""Pages and recordings to look at a store with."""
