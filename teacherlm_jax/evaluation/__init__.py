"""Rank classification: a model answers by the option whose text it finds likeliest."""
