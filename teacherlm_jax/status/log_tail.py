"""The last records of a run's logs, and the error that ended the run."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

from teacherlm_jax.runs import layout
from teacherlm_jax.status.run_files import RunFiles

_RECORD = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (?P<level>[A-Z]+) (?P<text>.*)"
)  # see `runs.run_log`
_LOG = re.compile(r"log(-(?P<process>.+))?\.txt")
# Errors that mean that somebody stopped the run; see `runs.run`.
_STOPPED = ("Interrupted", "KeyboardInterrupt", "SystemExit", "RefusedByFirst", "GeneratorExit")
_OF_USERS = ("UserError: ", "StoreError: ")


@dataclasses.dataclass(frozen=True)
class LogRecord:
    """A record of a log, which may have several lines.

    Attributes:
        time: local time of the process that wrote it, as text.
        level: INFO, WARNING or ERROR.
        text: the message.
    """

    time: str
    level: str
    text: str


@dataclasses.dataclass(frozen=True)
class RunLog:
    """The end of one log.

    Attributes:
        name: name of the file.
        process: the process that writes it; empty for the first.
        age: seconds since the last change.
        records: the last records.
    """

    name: str
    process: str
    age: float
    records: Sequence[LogRecord]

    @property
    def error(self) -> str:
        """The error that ended the process; empty if its log continues, or ends without one."""
        for record in reversed(self.records):
            if record.level == "ERROR":
                return record.text
            if record.level != "WARNING":  # uploads that fail may be reported after the error
                return ""
        return ""

    @property
    def stopped(self) -> bool:
        """True if the error says that the process was stopped, by a signal or by another one."""
        return self.error.partition(":")[0] in _STOPPED


def read_logs(run: RunFiles) -> list[RunLog]:
    """Return the ends of all logs of a run, that of the first process first."""
    names = sorted(name for name in run.entries() if _LOG.fullmatch(name))
    names.sort(key=lambda name: name != layout.LOG)
    return [_read(run, name) for name in names]


def newest(logs: Iterable[RunLog]) -> RunLog | None:
    """Return the log that changed last, None if there is none."""
    return min(logs, key=lambda log: log.age, default=None)


def ending(logs: Sequence[RunLog]) -> RunLog | None:
    """Return the log with the error that ended the run; None if no log ends with one.

    Of several processes, one that failed counts more than those that were stopped because of it.
    """
    ended = [log for log in logs if log.error]
    failed = [log for log in ended if not log.stopped]
    return next(iter(failed or ended), None)


def shown(error: str) -> str:
    """Return an error as the command shows it: without the name of its class, on one line."""
    for name in (*_OF_USERS, *(f"{name}: " for name in _STOPPED)):
        error = error.removeprefix(name)
    return " ".join(error.split())


def _read(run: RunFiles, name: str) -> RunLog:
    match = _LOG.fullmatch(name)
    process = match["process"] if match else ""
    return RunLog(name, process or "", run.age(name) or 0.0, _records(run.tail(name)))


def _records(lines: Iterable[str]) -> list[LogRecord]:
    records: list[LogRecord] = []
    for line in lines:
        match = _RECORD.match(line)
        if match:
            records.append(LogRecord(match["time"], match["level"], match["text"]))
        elif records:
            last = records[-1]
            records[-1] = dataclasses.replace(last, text=f"{last.text}\n{line}")
    return records
