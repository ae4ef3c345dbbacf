"""The log of a run: a file in its folder, and the console."""

import logging

from teacherlm_jax.runs.console import ConsoleHandler
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.wording import printable


class LogFile(logging.FileHandler):
    """A log file that ends the run when it cannot be written, instead of printing tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, without control characters: `tail` shows it."""
        return printable(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Re-raise the error that is being handled, which names the file if the disk failed."""
        with naming(self.baseFilename):
            raise

    def close(self) -> None:
        """Close the file; an error of writing its last lines also names the file."""
        with naming(self.baseFilename):
            super().close()


class _Format(logging.Formatter):
    """Format of a run's log, with addresses in the bucket in place of paths of its copy."""

    def __init__(self, place: RunPlace, style: str):
        super().__init__(style)
        self._place = place

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return self._place.translate(super().format(record))


def open_log(place: RunPlace, name: str, console: int) -> logging.Logger:
    """Return a logger to the file `name` and, from the level `console` on, to the console."""
    log = logging.getLogger(f"teacherlm.{place.path / name}")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        handler.close()
        log.removeHandler(handler)
    to_file = LogFile(place.path / name, encoding="utf-8", delay=True)
    to_file.setFormatter(_Format(place, "%(asctime)s %(levelname)s %(message)s"))
    to_console = ConsoleHandler(to_file)
    to_console.setFormatter(_Format(place, "%(message)s"))
    to_console.setLevel(console)
    for handler in (to_console, to_file):  # a file on a full disk raises an error
        log.addHandler(handler)
    place.say = log.warning
    return log
