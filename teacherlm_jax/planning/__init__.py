"""What a config needs of a TPU slice, found by compiling for the slice without having it."""
