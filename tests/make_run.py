"""One way for tests to make a run in a folder, without the lock and the log files of a command."""

import logging
from pathlib import Path

from teacherlm_jax.runs.run import Run
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.storage.paths import StoragePath


def make_run(folder: str | Path, log: logging.Logger | None = None) -> Run:
    """Return a run in a folder, which is created; its messages go to `log` or to pytest."""
    if log is None:
        log = logging.getLogger("test")
        log.setLevel(logging.INFO)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return Run(RunPlace(StoragePath(folder), path), log)
