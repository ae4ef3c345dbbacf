"""Text generation: sampling, a slot engine, and texts for prompts of any length."""
