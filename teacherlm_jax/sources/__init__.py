"""Readers of data sets of any layout, which yield samples row by row."""
