"""The language-conditioned tabletop tasks, one file each."""
