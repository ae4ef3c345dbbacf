"""Annotation: teachers explain data sets; jobs, their shards, and gates on each explanation."""
