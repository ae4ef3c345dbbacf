"""Writing text with a model: how a token is drawn, and an engine that keeps many texts going."""
