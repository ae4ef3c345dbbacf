"""Annotation: teachers explain datasets; jobs, their shards, and gates on each explanation."""
