"""Samples, their text forms, and packed rows of tokens; nothing here needs an accelerator."""
