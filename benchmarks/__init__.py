"""Speed, memory and agreement, measured side by side: `make bench-NAME` runs one of these."""
