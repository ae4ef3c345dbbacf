"""Messages on the standard output, which may be limited to ASCII, or closed during a run."""

import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from teacherlm_jax.wording import printable


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Handler that prints messages, and is silent once the standard output cannot be written.

    A run outlives its console: `teacherlm train … | head -1` trains to the end.
    """

    def __init__(self, log_file: logging.Handler | None = None):
        """Print to the standard output; `log_file` gets a line when that is closed."""
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._log_file = log_file

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, without control characters of data that it names."""
        return printable(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Discard all further messages if the output cannot be written; report other errors."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        discard(self.stream)
        if self._log_file is not None:
            message = f"the console cannot be written ({error}); further messages are only here"
            self._log_file.handle(
                logging.LogRecord(record.name, logging.INFO, "", 0, message, (), None)
            )


def prepare_streams() -> None:
    """Make standard output escape characters that its encoding lacks, and replace a closed one."""
    if sys.stdout is None:  # as after `>&-`; the first file that is opened would get its number
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (for the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a line at once; do nothing if the standard output cannot be written."""
    try:
        print(printable(text), flush=True)
    except OSError:
        discard(sys.stdout)


def discard(stream: TextIO) -> None:
    """Discard what a stream that cannot be written still holds, and all that is written later."""
    with contextlib.suppress(OSError, AttributeError):  # such as a stream without a file
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard standard error of the block and its child processes; show it if the block fails.

    Some libraries complain there at any log level.
    """
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(console, captured.read())
            raise
        finally:
            os.dup2(console, 2)
            os.close(console)
