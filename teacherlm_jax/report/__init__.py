"""A page with the results of all runs below a folder, next to the paper's figures."""
