import logging
import math
import struct
import subprocess
import sys

import jax.numpy as jnp
import pytest

from teacherlm_jax import files
from teacherlm_jax.errors import UserError
from teacherlm_jax.training.progress import Progress, clock, progress_line


def metrics(loss=2.0, grad_norm=1.0):
    values = {"loss": loss, "correct": 1.0, "loss_tokens": 2.0, "tokens": 3.0}
    return {key: jnp.float32(value) for key, value in {**values, "grad_norm": grad_norm}.items()}


@pytest.fixture
def log():
    return logging.getLogger("teacherlm.test_progress")


@pytest.fixture
def progress(tmp_path, log):
    opened = Progress(tmp_path, log, 900, {})
    yield opened
    opened.close()


def test_the_line_is_the_one_the_documentation_shows():
    scalars = {"loss": 1.2341, "accuracy": 0.61, "tokens_per_second": 12345.4}
    line = "step 120/900  loss 1.234  acc 0.610  tokens/s 12,345  left 0:42"
    assert progress_line(120, 900, scalars, 42.3) == line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (10809, "3:00:09")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_window_is_averaged_over_its_loss_tokens_and_reaches_tensorboard(progress, tmp_path):
    progress.add(metrics(loss=2.0))
    progress.add(metrics(loss=4.0, grad_norm=3.0))
    progress.read(2, learning_rate=0.5)
    assert progress.last["loss"] == 1.5
    assert progress.last["accuracy"] == 0.5
    assert progress.last["grad_norm"] == 2.0
    assert progress.state()["tokens"] == 6
    progress.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    written = events.read_bytes()
    assert b"train/loss" in written and struct.pack("<f", 1.5) in written


def test_a_resumed_run_goes_on_counting(tmp_path, log, progress):
    progress.add(metrics())
    progress.read(1, learning_rate=0.5)
    saved = progress.state()
    progress.add(metrics())
    progress.read(2, learning_rate=0.5)  # lost: the run was saved before
    resumed = Progress(tmp_path, log, 900, saved)
    resumed.add(metrics())
    resumed.read(3, learning_rate=0.25)
    assert resumed.tokens == 6
    assert resumed.seconds > saved["seconds"]
    resumed.close()
    rows = [row for _, row in files.read_jsonl(tmp_path / "metrics.jsonl")]
    assert [(row["step"], row["learning_rate"]) for row in rows] == [(1, 0.5), (3, 0.25)]


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"grad_norm": math.inf}])
def test_the_first_step_that_is_not_finite_ends_the_run_by_number(progress, bad):
    progress.add(metrics())
    progress.add(metrics(**bad))
    progress.add(metrics(loss=math.nan))
    with pytest.raises(UserError, match="^step 12: the (loss|gradient's norm) is (nan|inf)"):
        progress.read(13, learning_rate=0.5)


def test_the_writer_does_not_bring_torch_or_tensorflow(tmp_path):
    code = (
        "import logging, sys\n"
        "from pathlib import Path\n"
        "from teacherlm_jax.training.progress import Progress\n"
        "Progress(Path(sys.argv[1]), logging.getLogger(), 1, {}).close()\n"
        "print([name for name in ('torch', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
