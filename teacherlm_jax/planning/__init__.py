"""Resources that a config needs on a TPU slice, by compiling for it, or on GPUs, by estimate."""
