"""Commands of this machine, run as lists of words (no shell takes part), or only shown."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching.processes import noted_signals

_LOOK_SECONDS = 0.2


class Answer(NamedTuple):
    """What a command gave: exit status, and what it printed."""

    status: int
    output: str
    errors: str


class Shell:
    """Runs commands and shows each, as it could be typed."""

    def call(self, words: Sequence[str]) -> int:
        """Runs a command, its output shown; gives its exit status."""
        with _started(words, output=None) as process:
            return process.wait()

    def ask(self, words: Sequence[str]) -> Answer:
        """Runs a command for what it prints."""
        with _started(words, output=subprocess.PIPE) as process:
            output, errors = process.communicate()
            return Answer(process.returncode, output, errors)

    def attend(self, words: Sequence[str], stop: Sequence[str]) -> tuple[int, bool]:
        """Runs a long command; gives its exit status, and whether it was stopped.

        The first SIGINT or SIGTERM runs `stop`, which lets the command end; the second ends it.
        """
        stopped = False
        with noted_signals() as received, _started(words, output=None) as process:
            while process.poll() is None:
                if received and not stopped:
                    stopped = True
                    print(f"launch: {received[0].name}: stopping; again leaves at once", flush=True)
                    self.call(stop)
                if len(received) > 1:
                    os.killpg(process.pid, signal.SIGKILL)  # gcloud is a script around others
                time.sleep(_LOOK_SECONDS)
            # A signal that came as the command ended asks for no restart either.
            return (128 + received[0] if received else process.returncode), bool(received)

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        time.sleep(seconds)


class DryShell(Shell):
    """Shows the commands and runs none; a slice appears once it was asked for."""

    def __init__(self) -> None:
        self._created = False

    def call(self, words: Sequence[str]) -> int:
        """Shows a command."""
        self._created |= "create" in words
        _show(words)
        return 0

    def ask(self, words: Sequence[str]) -> Answer:
        """Show a command; the answer to a question for a slice's state depends on `create`."""
        if "describe" not in words:
            return Answer(self.call(words), "", "")
        _show(words)
        return Answer(0, "ACTIVE\n", "") if self._created else Answer(1, "", "NOT_FOUND")

    def attend(self, words: Sequence[str], stop: Sequence[str]) -> tuple[int, bool]:
        """Shows a command."""
        return self.call(words), False

    def wait(self, seconds: float) -> None:
        """Waits for nothing."""


def _show(words: Sequence[str]) -> None:
    print(shlex.join(words), flush=True)


def _started(words: Sequence[str], output: int | None) -> subprocess.Popen[str]:
    _show(words)
    try:
        # In a session of its own: the terminal's Ctrl-C reaches the launcher alone.
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UserError(
            f"{words[0]}: no such command here; gcloud comes with the Google Cloud CLI"
        ) from None
