"""Storage: reading, atomic writing, listing and hashing of files."""
