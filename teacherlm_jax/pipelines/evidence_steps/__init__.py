"""The steps of the study of stages and explanations; configs/evidence.py puts them together."""
