"""Checkpoints of Hugging Face's layout, read and written without torch or transformers."""
