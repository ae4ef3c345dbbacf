"""The steps of the paper's experiment; configs/paper.py puts them together."""
