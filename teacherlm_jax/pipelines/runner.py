"""Steps of a pipeline, each of which is done at most once; a repeated command resumes them.

A step is started as soon as the steps that it needs are finished. If one fails, those that need it
are not run, and all others are.
"""

import dataclasses
import signal
import time
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.config import PipelineOptions
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import chosen_steps
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.pipelines.step_process import StepProcess
from teacherlm_jax.pipelines.step_records import StepDigests, StepRecords
from teacherlm_jax.runs.run import Run
from teacherlm_jax.runs.stop_signals import handling

_POLL_SECONDS = 0.05  # between two looks at the processes that run


def run_steps(
    steps: Sequence[Step], run: Run, options: PipelineOptions | None = None
) -> dict[str, float] | None:
    """Do every step that is not finished; return the seconds of each step in this call, by name.

    Returns None if the options select other steps than all. Otherwise the log ends with the time of
    the call, which is less than the sum of the seconds if steps ran side by side.

    Args:
        steps: the pipeline, each step after those that it needs.
        run: run folder of the pipeline.
        options: which steps to do, and how many at once; default: all, one at a time.

    Raises UserError for an unknown name, for an input that is missing, and at the end if a step
    failed. A later call resumes from the steps that failed. Raises Interrupted if a signal stopped
    the steps.
    """
    options = options or PipelineOptions()
    records = StepRecords(run.path)
    chosen = chosen_steps.choose(steps, options)
    chosen_steps.require_inputs(chosen)
    began = time.monotonic()
    seconds = _Schedule(chosen, run, records, options).run()
    if len(seconds) < len(steps):
        return None
    run.log.info("")
    run.log.info("== done in %.0f s", time.monotonic() - began)
    return seconds


class _Schedule:
    """The steps of one call: those that wait, those that run, and those that failed."""

    def __init__(
        self, steps: Sequence[Step], run: Run, records: StepRecords, options: PipelineOptions
    ):
        self._run, self._records, self._options = run, records, options
        self._waiting, self._count = list(steps), len(steps)
        self._pending = {step.name for step in steps}  # steps that are not done
        self._running: list[StepProcess] = []
        self._failed: list[tuple[Step, int]] = []
        self._left: list[Step] = []  # those that need a step that failed
        self._begun = 0
        self._stop_signal = 0
        self._starting = False
        self._seconds: dict[str, float] = {}
        self._read: dict[str, StepDigests] = {}  # by name, as it was when the step began

    def run(self) -> dict[str, float]:
        """Do the steps; see `run_steps`."""
        try:
            with handling(self._forward):
                while self._waiting or self._running:
                    self._begin_ready()
                    if self._running:
                        self._wait()
        finally:
            for process in self._running:  # when an error ends this program
                process.send_signal(signal.SIGTERM)
            for process in self._running:
                process.wait()
        if self._failed:
            self._raise()
        return self._seconds

    def _begin_ready(self) -> None:
        """Begin the steps that wait for nothing, as far as there are processes for them."""
        for step in list(self._waiting):
            if any(name in self._lost() for name in step.after):
                self._waiting.remove(step)
                self._left.append(step)
            elif not self._pending.intersection(step.after):
                if len(self._running) >= self._options.processes or self._stop_signal:
                    return
                self._waiting.remove(step)
                self._begin(step)

    def _lost(self) -> set[str]:
        return {step.name for step, _ in self._failed} | {step.name for step in self._left}

    def _begin(self, step: Step) -> None:
        log, began = self._run.log, time.monotonic()
        self._begun += 1
        log.info("")
        log.info("== %d/%d  %s", self._begun, self._count, step.title)
        if step.finished and not step.repeats:
            changes = step.changes(self._records)
            if changes == []:
                log.info("%s: finished before", step.folder)
                if step.digests is None:  # also if it had failed, and was done by hand
                    self._records.forget(step.name)
                self._done(step, began)
                return
            if changes:
                log.info("%s: changed since it finished: %s", step.folder, ", ".join(changes))
        elif not step.needed():
            log.info("nothing to do")
            self._done(step, began)
            return
        if self._run.result is not None and not (step.finished and step.repeats):
            self._run.reopen()
        if step.digests is not None:
            self._read[step.name] = step.digests()
        if step.work is None:
            self._start(step)
        else:
            step.work(self._run)
            self._finish(step, began)

    def _start(self, step: Step, attempt: int = 1) -> None:
        prefixed = self._options.processes > 1
        self._starting = True
        process = StepProcess(step, self._run, attempt=attempt, prefixed=prefixed)
        self._running.append(process)
        self._starting = False
        if self._stop_signal:  # it came while the process was started
            process.send_signal(self._stop_signal)

    def _wait(self) -> None:
        """Wait until a process ends, or all of them after a signal that stops a command."""
        while not (ended := [one for one in self._running if one.status() is not None]):
            time.sleep(_POLL_SECONDS)
        while self._stop_signal and any(one.status() is None for one in self._running):
            time.sleep(_POLL_SECONDS)
        if self._stop_signal:
            self._stop()
        for process in ended:
            self._running.remove(process)
            self._end(process)

    def _stop(self) -> None:
        """Raise Interrupted for the steps that a signal stopped."""
        stopped, self._running = self._running, []
        for process in stopped:
            if process.status() == 0:  # it had finished
                self._finish(process.step, process.started)
        unfinished = [process for process in stopped if process.status() != 0]
        statuses = [_exit_status(process.status() or 0) for process in unfinished]
        steps = f"step{'s' * (len(unfinished) > 1)} " if unfinished else "the pipeline"
        titles = ", ".join(repr(process.step.title) for process in unfinished)
        raise Interrupted(
            f"stopped in {steps}{titles}; repeat the command to resume",
            status=next((one for one in statuses if one > 128), 128 + self._stop_signal),
        )

    def _forward(self, number: int, frame: Any) -> None:
        """Forward a signal that stops a command; raise Interrupted if no process runs."""
        self._stop_signal = number
        for process in self._running:
            process.send_signal(number)
        if not self._running and not self._starting:
            raise Interrupted("stopped; repeat the command to resume", status=128 + number)

    def _end(self, process: StepProcess) -> None:
        step, status = process.step, process.status()
        assert status is not None
        if status == 0:
            self._finish(step, process.started)
            return
        if process.attempt <= self._options.retries:
            text = "step %r failed with status %d; retry %d of %d"
            self._run.log.info(text, step.title, status, process.attempt, self._options.retries)
            self._start(step, process.attempt + 1)
            return
        self._records.fail(step.name, status)
        self._run.publish()
        self._failed.append((step, status))
        self._run.log.info("step %r failed with status %d", step.title, status)

    def _finish(self, step: Step, began: float) -> None:
        self._done(step, began)
        if step.digests is None:
            self._records.forget(step.name)
        else:
            # A file that was edited meanwhile is not what the step has read.
            digests = dataclasses.replace(self._read[step.name], output=step.digests().output)
            self._records.finish(step.name, digests, self._seconds[step.name])
        self._run.publish()  # later steps read its files

    def _done(self, step: Step, began: float) -> None:
        self._pending.remove(step.name)
        self._seconds[step.name] = round(time.monotonic() - began, 1)

    def _raise(self) -> None:
        """Raise the error of a call in which steps failed."""
        remedy = "correct the cause, and repeat the command: finished steps are not repeated"
        (step, status), *others = self._failed
        if all(status < 0 or status > 128 for _, status in self._failed):
            # by signals that somebody sent to them alone
            titles = ", ".join(repr(step.title) for step, _ in self._failed)
            raise Interrupted(
                f"stopped in step{'s' * bool(others)} {titles}; repeat the command to resume",
                status=_exit_status(status),
            )
        names = ", ".join(f"{step.title!r} (status {status})" for step, status in self._failed)
        failed, it = f"{len(self._failed)} steps failed: {names}", "them"
        if not others:
            failed, it = f"step {step.title!r} failed with status {status}", "it"
        left = f"; steps that need {it} and were not run: {len(self._left)}" * bool(self._left)
        see = "their messages" if others else "its message"
        raise UserError(f"{failed}{left}; see {see} above, {remedy}")


def _exit_status(status: int) -> int:
    """Return the status of a command whose step was ended by a signal, or handled one."""
    return 128 - status if status < 0 else status


def status(steps: Sequence[Step], records: StepRecords) -> str:
    """Return a line for each step: its state, its name and its title.

    A step that is not compared, has no output, and has a finished one after it was not needed: it
    was skipped.
    """
    states = [step.state(records) for step in steps]
    last = max((index for index, state in enumerate(states) if state == "finished"), default=-1)
    for index, step in enumerate(steps[: last + 1]):
        if step.digests is None and states[index] == "-":
            states[index] = "skipped"
    width = max(len(step.name) for step in steps)
    return "\n".join(
        f"{state:<10}{step.name:<{width + 2}}{step.title}"
        for state, step in zip(states, steps, strict=True)
    )
