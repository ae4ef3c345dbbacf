"""Traces of some steps, on demand."""

import jax

from teacherlm_jax.config import ProfileConfig
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run


class Profiler:
    """Starts and stops `jax.profiler` around the steps that a config names."""

    def __init__(self, config: ProfileConfig, run: Run):
        """Traces go to the run's `profile/`; none is made where the config names no steps."""
        self._config, self._folder, self._log = config, run.path / layout.PROFILE, run.log
        self._tracing = False

    def before(self, step: int) -> None:
        """To be called before a step (from 1) is handed to the devices."""
        bounds = self._config.bounds
        if bounds and not self._tracing and bounds[0] <= step <= bounds[1]:
            jax.profiler.start_trace(self._folder)
            self._tracing = True

    def after(self, step: int, waits: jax.Array) -> None:
        """To be called when a step is under way; `waits` is ready when it is done."""
        bounds = self._config.bounds
        if self._tracing and bounds and step >= bounds[1]:
            jax.block_until_ready(waits)
            self.close()
            if self._config.memory:
                path = self._folder / f"memory_{step}_process_{jax.process_index()}.prof"
                jax.profiler.save_device_memory_profile(path)
            self._log.info(
                "steps %d to %d are traced in %s (TensorBoard's profile plugin shows them)",
                *bounds,
                self._folder,
            )

    def close(self) -> None:
        """Ends a trace that is under way."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
