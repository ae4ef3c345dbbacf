"""Profiler traces of the steps that a config names."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

from teacherlm_jax.config import ProfileConfig
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run


class Profiler:
    """Marks every step for `jax.profiler`, and traces the steps that a config names."""

    def __init__(self, config: ProfileConfig, run: Run):
        """Write traces to the run's `profile/`; there are none if the config names no steps."""
        self._config, self._folder, self._log = config, run.path / layout.PROFILE, run.log
        self._tracing = False

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Mark the block that starts a step (from 1); begin the trace at its first step."""
        bounds = self._config.bounds
        if bounds and not self._tracing and bounds[0] <= step <= bounds[1]:
            jax.profiler.start_trace(self._folder)
            self._tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield

    def end_trace(self, step: int, running: Any) -> None:
        """End the trace after its last step, once the results `running` are ready."""
        bounds = self._config.bounds
        if self._tracing and bounds and step >= bounds[1]:
            jax.block_until_ready(running)
            self.close()
            if self._config.memory:
                path = self._folder / f"memory_{step}_process_{jax.process_index()}.prof"
                jax.profiler.save_device_memory_profile(path)
            self._log.info(
                "traced steps %d to %d: %s (open it with TensorBoard's profile plugin)",
                *bounds,
                self._folder,
            )

    def close(self) -> None:
        """End a trace that is still being recorded."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
