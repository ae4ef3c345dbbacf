"""Processes of one job on this machine: told apart on the console, stopped and ended together."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

_LOOK_SECONDS = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Lines of a library about its connections, often broken: they are kept in the files alone.
_NOISE = (b"[Gloo]", b"connected peer ranks")


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be run.

    Attributes:
        command: the same for all processes.
        environments: one for each process.
        logs: folder for `process-N.txt`, one for each.
        grace: seconds that the others get to end by themselves once one has failed.
    """

    command: Sequence[str]
    environments: Sequence[Mapping[str, str]]
    logs: Path
    grace: float


def run(job: Job) -> int:
    """Runs the job to its end and gives its exit status.

    It is 0 when all processes end so; that of the first to fail otherwise, 128 plus its number
    where a signal killed it; and after a signal to this process 128 plus that signal's, unless all
    processes were done. The first signal is passed on as SIGTERM, the second one kills.
    """
    job.logs.mkdir(parents=True, exist_ok=True)
    console = _Console()
    with noted_signals() as received:
        children = [
            _Child(number, job, environment, console)
            for number, environment in enumerate(job.environments)
        ]
        pids = ", ".join(f"{child.number} is {child.pid}" for child in children)
        console.say(f"process {pids}; what they print is in {job.logs}")
        try:
            return _watch(children, received, job.grace, console)
        finally:
            for child in children:
                child.kill()
            for child in children:
                child.finish()


class _Console:
    """Shows lines of several processes, each behind its number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: set[bytes] = set()
        self._only: int | None = None

    def say(self, message: str) -> None:
        """Shows a line of the launcher's own."""
        self._write(f"launch: {message}\n".encode())

    def show(self, number: int, line: bytes) -> None:
        """Shows a line of a process; what the command tells its user, but once."""
        if any(noise in line for noise in _NOISE) or self._only not in (None, number):
            return
        if line.startswith(b"teacherlm: "):
            if line in self._told:
                return
            self._told.add(line)
        self._write(f"[{number}] ".encode() + line)

    def only(self, number: int) -> None:
        """Shows no more lines but of this process: the others fail because it did."""
        self._only = number

    def _write(self, line: bytes) -> None:
        with self._lock:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


class _Child:
    """One process, in a session of its own: the terminal's Ctrl-C reaches the launcher alone."""

    def __init__(self, number: int, job: Job, environment: Mapping[str, str], console: _Console):
        self.number = number
        self._console = console
        self._process = subprocess.Popen(
            job.command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        log = job.logs / f"process-{number}.txt"
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout, log))
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its number here."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """None while it runs; negative: the signal that killed it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Asks it to save and leave."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it and all that it started, which would hold on to its output."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Waits until it has ended and its last line is read."""
        self._process.wait()
        self._reader.join()

    def _read(self, lines: IO[bytes], log: Path) -> None:
        """Show and keep the lines; if the log cannot be written, go on showing them."""
        with lines, log.open("ab", buffering=0) as file:
            writable = True
            for line in lines:
                self._console.show(self.number, line)
                if not writable:
                    continue
                try:
                    file.write(line)
                except OSError as error:
                    writable = False
                    self._console.say(f"{log}: {error.strerror}; further lines are only shown here")


def _watch(
    children: Sequence[_Child], received: list[signal.Signals], grace: float, console: _Console
) -> int:
    passed_on = False
    while not (failed := [child for child in children if child.status]):
        if all(child.status == 0 for child in children):
            return 0
        if received and not passed_on:
            passed_on = True
            console.say(
                f"{received[0].name}: asked all to save and exit; signal again to kill them"
            )
            for child in children:
                child.terminate()
        if len(received) > 1:
            return 128 + received[0]
        time.sleep(_LOOK_SECONDS)
    first = failed[0]
    if not received:
        console.only(first.number)
        for child in children:
            child.terminate()
    _wait(children, received, grace)
    status = first.status or 0
    if received:
        return 128 + received[0]
    if status < 0:
        console.say(f"process {first.number} was killed by {signal.Signals(-status).name}")
        return 128 - status
    console.say(f"process {first.number} ended with status {status}")
    return status


def _wait(children: Sequence[_Child], received: list[signal.Signals], grace: float) -> None:
    """Until all have ended, the time is over, or a signal comes twice."""
    end = time.monotonic() + grace
    while any(child.status is None for child in children):
        if time.monotonic() > end or len(received) > 1:
            return
        time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def noted_signals() -> Iterator[list[signal.Signals]]:
    """The signals that came while the block runs, in their order; they do nothing else."""
    received: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
