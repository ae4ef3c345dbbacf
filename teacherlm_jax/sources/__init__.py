"""Data sets of any layout, read row by row as samples."""
