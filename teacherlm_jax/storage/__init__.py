"""Files: read, replaced in one step, listed and hashed."""
