"""Samples, their text forms, the vocabulary, and packed rows: plain Python, no accelerator."""
