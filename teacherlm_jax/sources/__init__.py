"""Readers of datasets of any layout, which yield samples row by row."""
