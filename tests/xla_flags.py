"""Flags of XLA for tests, which compile more than they compute."""

FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
