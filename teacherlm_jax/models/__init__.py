"""Language models as pure JAX: no files, no flags, no devices."""
