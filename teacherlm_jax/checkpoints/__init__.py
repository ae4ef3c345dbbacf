"""Checkpoints: one verified Orbax bundle per step."""
