"""The state of a run: from its result, its lock, the heartbeats in it, and the ends of its logs."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.errors import MissingFile, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.status import log_tail
from teacherlm_jax.status.log_tail import RunLog
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.storage import files
from teacherlm_jax.storage.lock_holder import Holder, of_heartbeat, read_holder

RUNNING, WAITING, STOPPED = "running", "waiting", "stopped"
FAILED, FINISHED = "failed", "finished"
UNREADABLE = "unreadable"  # nothing is known of the run
STATES = (RUNNING, WAITING, STOPPED, FAILED, UNREADABLE, FINISHED)

_WAITS = "; waiting for it"  # ends the line of a process that waits for a lock; see `run_place`
_KILLED = (
    "its process ended without a message: it was killed (for example because memory ran out) or "
    "stopped before its first step, or its machine was lost"
)
_ENDED = "it ended without a result, as after --until"


@dataclasses.dataclass(frozen=True)
class RunState:
    """The state of a run.

    Attributes:
        name: one of STATES.
        reason: error of a failed run, reason of a stopped or unreadable one; else empty.
        holders: the processes that wrote a heartbeat, those at work first.
    """

    name: str
    reason: str
    holders: Sequence[Holder]

    @property
    def at_work(self) -> list[Holder]:
        """The processes that work in the folder."""
        return [holder for holder in self.holders if holder.alive]


def read_state(
    run: RunFiles, recorded: Mapping[str, Any], result: Mapping[str, Any], logs: Sequence[RunLog]
) -> RunState:
    """Return the state of a run.

    Args:
        run: the run's files.
        recorded: content of `config.json`, empty if it cannot be read.
        result: content of `result.json`, empty if there is none.
        logs: the ends of its logs.
    """
    held = list(_holders(run))
    held.sort(key=lambda holder: (not holder.alive, holder.age))
    if any(holder.alive for holder in held):
        last = log_tail.newest(logs)
        waits = last is not None and last.records and last.records[-1].text.endswith(_WAITS)
        return RunState(WAITING if waits else RUNNING, "", held)
    if run.has(layout.RESULT) and (result or not _is_readable(run)):
        return RunState(FINISHED, "", held)
    ended = log_tail.ending(logs)
    if ended is not None:
        by = f"process {ended.process}: " if ended.process else ""
        name = STOPPED if ended.stopped else FAILED
        return RunState(name, by + log_tail.shown(ended.error), held)
    if held:
        return RunState(STOPPED, _KILLED, held)
    if _needs_no_result(run, recorded):
        return RunState(FINISHED, "", held)
    return RunState(STOPPED, _ENDED if logs else "it has not started", held)


def _is_readable(run: RunFiles) -> bool:
    """Return whether the result can be read; a damaged one means that the run finished."""
    return not any(str(run.folder / layout.RESULT) in fault for fault in run.faults)


def _needs_no_result(run: RunFiles, recorded: Mapping[str, Any]) -> bool:
    """Return whether a run that ended without a message is finished although it has no result."""
    config = recorded.get("config")
    checked = isinstance(config, dict) and config.get("check_only")
    return recorded.get("verb") == "plan" or bool(checked and run.has(layout.CHECK))


def _holders(run: RunFiles) -> Iterator[Holder]:
    if run.has(layout.LOCK):
        yield from _tolerantly(run, lambda: read_holder(run.folder / layout.LOCK, run.skew))
    for name in run.entries(layout.WORKERS):
        if name.endswith(".json") and not name.startswith("."):
            yield from _tolerantly(run, functools.partial(_worker, run, name))


def _worker(run: RunFiles, name: str) -> Holder | None:
    path = f"{layout.WORKERS}/{name}"
    try:
        content = files.read_json(run.folder / path)
    except MissingFile:
        return None  # the process has left
    return of_heartbeat(run.folder / path, content, run.age(path) or 0.0)


def _tolerantly(run: RunFiles, read: Callable[[], Holder | None]) -> Iterator[Holder]:
    try:
        holder = read()
    except UserError as error:
        run.faults.append(str(error))
        return
    if holder is not None:
        yield holder
