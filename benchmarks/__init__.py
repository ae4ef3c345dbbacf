"""Benchmarks of speed, memory and agreement with other libraries: `make bench-NAME` runs one."""
