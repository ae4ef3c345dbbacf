"""Verbs in sequence, each step restartable."""
