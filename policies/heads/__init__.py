"""Action heads behind one interface."""
