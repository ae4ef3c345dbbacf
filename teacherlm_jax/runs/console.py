"""Messages on the standard output, which may be closed while a run continues."""

import contextlib
import logging
import os
import sys
from typing import TextIO


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Handler that prints messages, and is silent once the standard output cannot be written.

    A run outlives its console: `teacherlm train … | head -1` trains to the end.
    """

    def __init__(self, log_file: logging.Handler | None = None):
        """Print to the standard output; `log_file` gets a line when that is closed."""
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._log_file = log_file

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


def say(text: str) -> None:
    """Print a line at once; do nothing if the standard output cannot be written."""
    try:
        print(text, flush=True)
    except OSError:
        discard(sys.stdout)


def discard(stream: TextIO) -> None:
    """Discard what a stream that cannot be written still holds, and all that is written later."""
    with contextlib.suppress(OSError, AttributeError):  # such as a stream without a file
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
