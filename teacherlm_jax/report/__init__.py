"""One page that shows what all runs below a folder came to, beside the paper's figures."""
