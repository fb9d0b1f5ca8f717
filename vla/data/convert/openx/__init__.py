"""Open-X data sets (arXiv:2310.08864) and their kin in RLDS form, told in canonical axes.

One `Recipe` per data set, by robot family; `table` gathers them.
"""
