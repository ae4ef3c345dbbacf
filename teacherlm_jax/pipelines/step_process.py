"""A step that is a command, in a process of its own, which stops when the pipeline is killed."""

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.runs import console
from teacherlm_jax.runs.parent_process import TiedProcess
from teacherlm_jax.runs.run import Run


class StepProcess:
    """The process of a step that runs.

    Attributes:
        step: the step.
        attempt: number of this attempt, from 1.
        started: when the step was started, of `time.monotonic`.
    """

    def __init__(self, step: Step, run: Run, *, attempt: int = 1, prefixed: bool = False):
        """Start `teacherlm` with the words of a step.

        Args:
            step: a step that is a command.
            run: run folder of the pipeline, which keeps the compiled programs of all steps.
            attempt: number of this attempt.
            prefixed: begin every line of the output with the name of the step.
        """
        assert step.words is not None
        words = step.words(run)
        self.step, self.attempt, self.started = step, attempt, time.monotonic()
        run.log.info("$ teacherlm %s", shlex.join(words))
        self._process = start(words, run, step.environment, piped=prefixed)
        self._reader = None
        if self._process.stdout is not None:
            self._reader = threading.Thread(
                target=_show, args=(step.name, self._process.stdout), daemon=True
            )
            self._reader.start()

    def status(self) -> int | None:
        """Return the exit status; None while the process runs."""
        status = self._process.poll()
        if status is not None and self._reader is not None:
            self._reader.join()
        return status

    def wait(self) -> None:
        """Wait until the process ends."""
        self._process.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)


def start(
    words: Sequence[str], run: Run, environment: Mapping[str, str], *, piped: bool = False
) -> TiedProcess:
    """Start `teacherlm WORDS`; variables of this process win over those of `environment`."""
    return TiedProcess(
        [sys.executable, "-m", "teacherlm_jax", *words],
        {**_shared_environment(run), **environment, **os.environ},
        stdout=subprocess.PIPE if piped else None,
        stderr=subprocess.STDOUT if piped else None,
    )


def _show(name: str, output: IO[bytes]) -> None:
    """Print the lines of a process after the name of its step; of a progress bar the last state."""
    with output:
        for line in output:
            text = line.decode(errors="replace").rstrip().rpartition("\r")[2]
            console.say(f"[{name}] {text}")


def _shared_environment(run: Run) -> dict[str, str]:
    """Return the environment of all steps: a shared compilation cache, and huge pages.

    Programs of the same shapes compile once. Huge pages save about a fifth of the CPU time, which
    page faults take for arrays of this size; only glibc reads the setting.
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str((run.path / ".compiled").absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
