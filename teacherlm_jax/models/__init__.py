"""Language models in pure JAX, without files, flags or device placement."""
