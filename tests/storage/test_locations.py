"""Paths and globs below a root, and the errors of stores."""
