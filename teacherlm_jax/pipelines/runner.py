"""Steps in sequence, each of which is done at most once; a repeated command resumes them."""

import dataclasses
import difflib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.runs.stop_signals import handling


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a pipeline.

    Attributes:
        name: name for `--until` and `--status`, unique in the pipeline.
        title: what the step does, for the log.
        output: file that exists if and only if the step is finished.
        work: function that does the work, or resumes it.
        needed: function that returns False if there is nothing to do; called when all earlier
            steps are finished.
        repeats: the step is done in every call.
    """

    name: str
    title: str
    output: epath.Path
    work: Callable[[Run], None]
    needed: Callable[[], bool] = lambda: True
    repeats: bool = False

    @property
    def finished(self) -> bool:
        """True if the step needs no more work."""
        return self.output.exists()


def run_steps(steps: Sequence[Step], run: Run, until: str = "") -> dict[str, float]:
    """Do every step that is not finished; return the seconds of each step in this call, by title.

    Args:
        steps: the pipeline.
        run: run folder of the pipeline.
        until: name of the last step to do; empty: all of them.

    Raises UserError for an unknown name and if a step fails. A later call resumes from that step.
    """
    if until:
        steps = steps[: _index(steps, until) + 1]
    seconds = {}
    for number, step in enumerate(steps, start=1):
        run.log.info("")
        run.log.info("== %d/%d  %s", number, len(steps), step.title)
        started = time.monotonic()
        if step.finished and not step.repeats:
            run.log.info("%s: finished before", step.output.parent)
        elif not step.needed():
            run.log.info("nothing to do")
        else:
            step.work(run)
            run.publish()  # later steps read its files
        seconds[step.title] = round(time.monotonic() - started, 1)
    return seconds


def status(steps: Sequence[Step]) -> str:
    """Return a line for each step: its state, its name and its title.

    A step that is not finished but has a finished one after it was not needed: it was skipped.
    """
    finished = [step.finished for step in steps]
    last = max((index for index, done in enumerate(finished) if done), default=-1)
    width = max(len(step.name) for step in steps)
    states = [
        "finished" if done else "skipped" if index < last else "-"
        for index, done in enumerate(finished)
    ]
    return "\n".join(
        f"{state:<10}{step.name:<{width + 2}}{step.title}"
        for state, step in zip(states, steps, strict=True)
    )


def _index(steps: Sequence[Step], name: str) -> int:
    names = [step.name for step in steps]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"--until: no step is named {name!r}; known: {', '.join(names)}{hint}")
    return names.index(name)


def run_command(
    words: Sequence[str], title: str, run: Run, environment: dict[str, str] | None = None
) -> None:
    """Run `teacherlm WORDS` in a process of its own; stop signals are forwarded to it.

    Args:
        words: the command line.
        title: title of the step, for messages.
        run: run folder of the pipeline, which keeps the compiled programs of all steps.
        environment: environment variables in addition to those of this process, which win.

    Raises:
        UserError: the command failed.
        Interrupted: a signal stopped it.
    """
    run.log.info("$ teacherlm %s", shlex.join(words))
    # In its own session, so that Ctrl-C reaches the step only once, through `_wait_for`.
    process = subprocess.Popen(
        [sys.executable, "-m", "teacherlm_jax", *words],
        env={**_environment(run), **(environment or {}), **os.environ},
        start_new_session=True,
    )
    status = _wait_for(process)
    if status < 0 or status > 128:  # ended by a signal, or after handling one
        raise Interrupted(
            f"stopped in step {title!r}; repeat the command to resume",
            status=128 - status if status < 0 else status,
        )
    if status != 0:
        raise UserError(
            f"step {title!r} failed with status {status}; see its message above, correct "
            "the cause, and repeat the command: finished steps are not repeated"
        )


def _wait_for(step: subprocess.Popen[bytes]) -> int:
    """Return the exit status of a step; forward the signals that stop a command to it."""

    def forward(number: int, frame: Any) -> None:
        step.send_signal(number)

    with handling(forward):
        return step.wait()


def _environment(run: Run) -> dict[str, str]:
    """Return the environment of all steps: a shared compilation cache, and huge pages.

    Programs of the same shapes compile once. Huge pages save about a fifth of the CPU time, which
    page faults take for arrays of this size; only glibc reads the setting.
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str((run.path / ".compiled").absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
