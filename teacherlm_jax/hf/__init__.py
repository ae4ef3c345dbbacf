"""Models in the Hugging Face format, read and written without torch or transformers."""
