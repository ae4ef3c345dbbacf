"""Files of runs as commands write them."""

import os
import time
from pathlib import Path

from teacherlm_jax import config
from teacherlm_jax.storage import files
from teacherlm_jax.storage.growing import append_row

STEP = {"loss": 2.5, "accuracy": 0.25, "tokens_per_second": 1200.0, "mfu": 0.41}


def training(output, **settings):
    return config.TrainConfig(output=str(output), data="data/x", steps=100, **settings)


def log_steps(run, *steps, seconds=10.0):
    """Write the metrics and progress lines of a training; each line covers `seconds`."""
    for step in steps:
        append_row(run.path / "metrics.jsonl", {"step": step, "seconds": seconds, **STEP})
        run.log.info("step %d/100  loss 2.500", step)


def save(run, *steps):
    """Write empty checkpoints of these steps, complete as far as their names say."""
    for step in steps:
        folder = run.address / "checkpoints" / str(step)
        files.write_text(folder / "meta" / "metadata", "{}")
        if str(run.address).startswith("gs://"):
            files.write_text(folder / "commit_success.txt", "done")


def age(path, seconds):
    """Make a file older."""
    os.utime(path, (time.time() - seconds,) * 2)


def listing(folder):
    """Return what may not change when a status is read: names, contents and times of all files."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }
