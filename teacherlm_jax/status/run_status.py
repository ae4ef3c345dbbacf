"""The status of one run: its state, its progress, the end of its log, and what to do next."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.pipelines.verbs import VERBS
from teacherlm_jax.runs import layout
from teacherlm_jax.status import (
    annotation_progress,
    log_tail,
    next_commands,
    other_progress,
    pipeline_steps,
    run_state,
    training_progress,
)
from teacherlm_jax.status.log_tail import RunLog
from teacherlm_jax.status.next_commands import NO_COMMAND, NextCommand
from teacherlm_jax.status.pipeline_steps import StepStatus
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_progress import RunProgress, duration
from teacherlm_jax.status.run_state import RunState

_LINES = 3  # of the log
_SILENT = 900.0  # seconds without a line in the log of a running process that are worth a note
_CONFIG = {"verb": str, "config": dict}  # types of values in `config.json`
_VERSIONS = {"command": list, "directory": str, "processes": int, "before": list}

_Reader = Callable[[RunFiles, Mapping[str, Any], Mapping[str, Any], Sequence[RunLog]], RunProgress]


def _without_logs(
    read: Callable[[RunFiles, Mapping[str, Any], Mapping[str, Any]], RunProgress],
) -> _Reader:
    return lambda run, config, result, logs: read(run, config, result)


_READERS: dict[str, _Reader] = {
    "train": _without_logs(training_progress.read),
    "annotate": annotation_progress.read,
    "prepare": _without_logs(other_progress.of_preparation),
    "evaluate": _without_logs(other_progress.of_evaluation),
    "convert": _without_logs(other_progress.of_conversion),
    "star": _without_logs(other_progress.of_star),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The status of a run.

    Attributes:
        path: the run folder, as the user named it.
        verb: the command; empty if the files do not say.
        state: the state, with the processes at work.
        progress: what is done of what.
        processes: number of processes that work as one.
        starts: number of times the run was started.
        log_name: the log whose last lines are shown.
        log: its last lines.
        log_age: seconds since it changed; None without a log.
        steps: the steps of a pipeline.
        notes: what may be wrong although the run is at work.
        faults: damaged files.
        next: what to do next.
    """

    path: str
    verb: str
    state: RunState
    progress: RunProgress
    processes: int = 1
    starts: int = 1
    log_name: str = ""
    log: tuple[str, ...] = ()
    log_age: float | None = None
    steps: tuple[StepStatus, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    next: NextCommand = NO_COMMAND

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON."""
        holders = [
            {"name": one.name, "alive": one.alive, "heartbeat_age": round(one.age, 1)}
            for one in self.state.holders
        ]
        return {
            "run": self.path,
            "command": self.verb,
            "state": self.state.name,
            "reason": self.state.reason,
            "at_work": holders,
            "processes": self.processes,
            "starts": self.starts,
            "progress": self.progress.figures,
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "log": {"file": self.log_name, "age": self.log_age, "lines": list(self.log)},
            "notes": list(self.notes),
            "damaged": list(self.faults),
            "next": dataclasses.asdict(self.next),
        }


def read_status(run: RunFiles, *, with_steps: bool = True) -> RunStatus:
    """Return the status of a run folder.

    Args:
        run: its files.
        with_steps: whether to read the runs in the folder of a pipeline, too.

    Raises UserError if the folder cannot be read, and StoreError if a store refuses.
    """
    recorded = run.json(layout.CONFIG, _CONFIG)
    versions = run.json(layout.VERSIONS, _VERSIONS)
    if not run.has(layout.CONFIG):
        run.faults.append(
            f"{run.folder / layout.CONFIG}: no such file, so the settings are unknown"
        )
    result, logs = run.json(layout.RESULT), log_tail.read_logs(run)
    state = run_state.read_state(run, recorded, result, logs)
    verb = recorded.get("verb") or _verb(versions.get("command", ()))
    config = recorded.get("config", {})
    progress = _progress(run, verb, config, result, logs)
    steps = pipeline_steps.read_steps(run, verb, config, _short) if with_steps else ()
    shown = log_tail.newest(logs) if verb == "annotate" else next(iter(logs), None)
    return RunStatus(
        path=str(run.folder),
        verb=verb,
        state=state,
        progress=progress,
        processes=versions.get("processes", 1),
        starts=1 + len(versions.get("before", ())),
        log_name=shown.name if shown else "",
        log=_last_lines(shown) if shown else (),
        log_age=shown.age if shown else None,
        steps=steps,
        notes=tuple(_notes(state, logs, shown, run.skew)),
        faults=tuple(dict.fromkeys(run.faults)),
        next=next_commands.of(run.folder, verb, config, state, versions),
    )


def unreadable(folder: epath.Path, reason: str) -> RunStatus:
    """Return the status of a folder of which nothing can be read, for a reason."""
    return RunStatus(
        path=str(folder),
        verb="",
        state=RunState(run_state.UNREADABLE, reason.removeprefix(f"{folder}: "), ()),
        progress=RunProgress(),
    )


def _short(folder: epath.Path, skew: float) -> tuple[str, str]:
    """Return the state of a step's run, and its progress or its error in a few words."""
    try:
        status = read_status(RunFiles(folder, skew), with_steps=False)
    except ExplainedError as error:
        status = unreadable(folder, str(error))
    return status.state.name, status.state.reason or status.progress.short


def _progress(
    run: RunFiles,
    verb: str,
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    logs: Sequence[RunLog],
) -> RunProgress:
    read = _READERS.get(verb)
    if read is None or not config:
        return RunProgress()
    try:
        return read(run, config, result, logs)
    except UserError as error:
        run.faults.append(str(error))
        return RunProgress()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Such as a text where a number should be, in a file that is JSON nevertheless.
        run.faults.append(
            f"{run.folder}: a file of {verb} has an unexpected content, so its progress is not "
            f"known ({type(error).__name__}: {error})"
        )
        return RunProgress()


def _notes(state: RunState, logs: Sequence[RunLog], shown: RunLog | None, skew: float) -> list[str]:
    notes = []
    if state.at_work:
        if shown is not None and shown.age > _SILENT:
            notes.append(
                f"{shown.name} has had no line for {duration(shown.age)}; if that is unusual for "
                "this run, look at its process"
            )
        for log in logs:
            if log.process and log.error and not log.stopped:
                notes.append(f"process {log.process} failed: {log_tail.shown(log.error)}")
    if abs(skew) > 60:
        notes.append(
            f"the clock of this machine differs by {duration(abs(skew))} from that of the bucket; "
            "`teacherlm doctor` says what to do"
        )
    return notes


def _last_lines(log: RunLog) -> tuple[str, ...]:
    """Return the last records of a log, with their time of the day, without empty ones."""
    lines = []
    for record in log.records:
        text = record.text.split("\n")
        for line in filter(str.strip, text):
            lines.append(f"{record.time.partition(' ')[2]} {line.rstrip()}")
    return tuple(lines[-_LINES:])


def _verb(command: Sequence[Any]) -> str:
    """Return the verb in a recorded command line; empty if there is none."""
    return next((word for word in command[1:] if isinstance(word, str) and word in VERBS), "")
