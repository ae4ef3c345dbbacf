"""Checks of one explanation, and of all together, before it is kept."""
