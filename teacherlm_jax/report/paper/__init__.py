"""The paper's tables and figures beside those of our runs."""
