"""Tracking: the scalars, settings and results of a run in TensorBoard, W&B, trackio or others."""
