"""Shards of a job: claimed by one worker, filled with explanations, and published."""
