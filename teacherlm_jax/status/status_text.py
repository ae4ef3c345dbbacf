"""The status of runs as text: a block for each run, or a line for each of many."""

from collections import Counter
from collections.abc import Iterator, Sequence

from teacherlm_jax.status.next_commands import NextCommand
from teacherlm_jax.status.run_progress import duration
from teacherlm_jax.status.run_state import FINISHED, STATES, UNREADABLE
from teacherlm_jax.status.run_status import RunStatus
from teacherlm_jax.storage.lock_holder import Holder
from teacherlm_jax.wording import counted

_WIDTH = 11  # of the names of lines


def block(status: RunStatus) -> str:
    """Return the status of one run as a block of lines."""
    verb = "" if status.state.name == UNREADABLE else f"{status.verb or 'unknown command'}, "
    lines = [f"{status.path}: {verb}{status.state.name}"]
    lines += (f"  {name:<{_WIDTH}} {text}" for name, text in _lines(status))
    return "\n".join(lines)


def table(statuses: Sequence[RunStatus]) -> str:
    """Return one line for each run: state, command, path, progress and reason; then a sum."""
    rows = [(one.state.name, one.verb or "?", one.path) for one in statuses]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for one, row in zip(statuses, rows, strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        cells.append("; ".join(filter(None, (one.progress.short, *_trouble(one)))))
        lines.append("  ".join(cells).rstrip())
    counts = Counter(one.state.name for one in statuses)
    shown = ", ".join(f"{counts[name]} {name}" for name in STATES if name in counts)
    return "\n".join((*lines, "", f"{counted(len(statuses), 'run')}: {shown}"))


def _trouble(status: RunStatus) -> Iterator[str]:
    """Yield the reason of the state, and a damaged file, without advice."""
    if status.state.reason:
        yield status.state.reason.partition("; ")[0].partition(" (")[0]
    if status.faults:
        yield f"damaged: {status.faults[0]}"


def _lines(status: RunStatus) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each line."""
    if status.state.reason:
        yield "reason", status.state.reason
    at_work = status.state.at_work
    ended = () if status.state.name == FINISHED else status.state.holders[:1]
    for holder in at_work or ended:
        yield "process", _holder(holder)
    if status.processes > 1:
        yield "processes", f"{status.processes} work as one"
    if status.starts > 1:
        yield "started", f"{status.starts} times"
    yield from status.progress.lines
    yield from _steps(status)
    yield from (("note", note) for note in status.notes)
    yield from (("damaged", fault) for fault in status.faults)
    if status.log_age is not None:
        yield "log", f"{status.log_name}, last line {duration(status.log_age)} ago"
        yield from (("", line) for line in status.log)
    yield from _next(status.next)


def _holder(holder: Holder) -> str:
    ago = duration(holder.age)
    if holder.alive:
        return f"{holder.name}; heartbeat {ago} ago"
    return f"{holder.name}; gone, last heartbeat {ago} ago"


def _steps(status: RunStatus) -> Iterator[tuple[str, str]]:
    steps = status.steps
    if not steps:
        return
    done = sum(step.state == "finished" for step in steps)
    yield "steps", f"{done} of {len(steps)} finished"
    name = max(len(step.name) for step in steps)
    for step in steps:
        yield "", f"{step.state:<9} {step.name:<{name}}  {step.detail or step.title}".rstrip()


def _next(command: NextCommand) -> Iterator[tuple[str, str]]:
    if command.purpose:
        yield "next", command.purpose + (f", in {command.directory}:" if command.directory else "")
    if command.command:
        yield "", command.command
