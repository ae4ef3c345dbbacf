"""Resources that a config needs on a TPU slice, found by compiling for it without a TPU."""
