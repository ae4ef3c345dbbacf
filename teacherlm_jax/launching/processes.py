"""Run the processes of one job on this machine, label their output, and stop them together."""

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

from teacherlm_jax.runs.console import discard
from teacherlm_jax.runs.parent_process import TiedProcess
from teacherlm_jax.runs.stop_signals import handling
from teacherlm_jax.storage import growing

_POLL_SECONDS = 0.05
# Messages of a library about its connections; they are written to the log files only.
_NOISE = (b"[Gloo]", b"connected peer ranks")


@dataclasses.dataclass(frozen=True)
class Job:
    """One command that runs in several processes.

    Attributes:
        command: command line of all processes.
        environments: environment variables of each process.
        logs: folder for the logs, one `process-N.txt` per process.
        grace: seconds for the other processes to exit after one has failed.
    """

    command: Sequence[str]
    environments: Sequence[Mapping[str, str]]
    logs: Path
    grace: float


def run(job: Job) -> int:
    """Run a job and return its exit status.

    The status is 0 if all processes exit with 0, otherwise that of the first process to fail, which
    is 128 plus the signal's number if a signal killed it. If this process receives a signal before
    all processes have finished, the status is 128 plus that signal's number; the first signal is
    forwarded as SIGTERM, and the second one kills the processes.
    """
    job.logs.mkdir(parents=True, exist_ok=True)
    console = _Console()
    with noted_signals() as received:
        children = [
            _Child(number, job, environment, console)
            for number, environment in enumerate(job.environments)
        ]
        pids = ", ".join(f"{child.number} is {child.pid}" for child in children)
        console.say(f"process {pids}; their output is also in {job.logs}")
        try:
            return _watch(children, received, job.grace, console)
        finally:
            for child in children:
                child.kill()
            for child in children:
                child.finish()


class _Console:
    """Shows the output of several processes, with the process number before each line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: set[bytes] = set()
        self._only: int | None = None

    def say(self, message: str) -> None:
        """Show a message of the launcher."""
        self._write(f"launch: {message}\n".encode())

    def show(self, number: int, line: bytes) -> None:
        """Show a line of a process; a message that several processes print is shown once."""
        if any(noise in line for noise in _NOISE) or self._only not in (None, number):
            return
        if line.startswith(b"teacherlm: "):
            if line in self._messages:
                return
            self._messages.add(line)
        self._write(f"[{number}] ".encode() + line)

    def only(self, number: int) -> None:
        """Show the output of this process only; the others fail because it failed."""
        self._only = number

    def _write(self, line: bytes) -> None:
        with self._lock:
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except OSError:  # the output was closed; the processes continue
                discard(sys.stdout)


class _Child:
    """One process, which stops when the launcher is killed."""

    def __init__(self, number: int, job: Job, environment: Mapping[str, str], console: _Console):
        self.number = number
        self._console = console
        self._process = TiedProcess(
            *(job.command, environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        log = job.logs / f"process-{number}.txt"
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout, log))
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while the process runs, minus the signal's number if one killed it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the process to save and exit."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its children, which would keep its output open."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Wait until the process has exited and its output has been read."""
        self._process.wait()
        self._reader.join()

    def _read(self, lines: IO[bytes], log: Path) -> None:
        """Show the lines and write them to the log; if that fails, only show them."""
        with lines, growing.open_growing(log) as file:
            writable = True
            for line in lines:
                self._console.show(self.number, line)
                if not writable:
                    continue
                try:
                    file.write(line)
                except OSError as error:
                    writable = False
                    self._console.say(
                        f"{log}: {error.strerror}; the output is only shown here from now on"
                    )


def _watch(
    children: Sequence[_Child], received: list[signal.Signals], grace: float, console: _Console
) -> int:
    forwarded = False
    while not (failed := [child for child in children if child.status]):
        if all(child.status == 0 for child in children):
            return 0
        if received and not forwarded:
            forwarded = True
            console.say(
                f"{received[0].name}: asked all processes to save and exit; signal again "
                "to kill them"
            )
            for child in children:
                child.terminate()
        if len(received) > 1:
            return 128 + received[0]
        time.sleep(_POLL_SECONDS)
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
    console.say(f"process {first.number} exited with status {status}")
    return status


def _wait(children: Sequence[_Child], received: list[signal.Signals], grace: float) -> None:
    """Wait until all have exited, `grace` seconds have passed, or a second signal arrives."""
    deadline = time.monotonic() + grace
    while any(child.status is None for child in children):
        if time.monotonic() > deadline or len(received) > 1:
            return
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def noted_signals() -> Iterator[list[signal.Signals]]:
    """Yield the list of stop signals received in the block; they have no other effect."""
    received: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))

    with handling(note):
        yield received
