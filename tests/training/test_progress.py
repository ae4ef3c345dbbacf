import logging
import math
import struct
import subprocess
import sys

import jax.numpy as jnp
import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.training.account import Account
from teacherlm_jax.training.progress import Progress, clock, progress_line


def metrics(loss=2.0, grad_norm=1.0, finite=(True, True)):
    values = {"loss": loss, "correct": 1.0, "loss_tokens": 2.0, "tokens": 3.0}
    scalars = {key: jnp.float32(value) for key, value in {**values, "grad_norm": grad_norm}.items()}
    return {**scalars, "finite": jnp.array(finite)}


@pytest.fixture
def log():
    return logging.getLogger("teacherlm.test_progress")


@pytest.fixture
def opened(tmp_path, log):
    """Opens a Progress in the test's folder; what it was given earlier is its argument."""
    made = []

    def open_progress(earlier):
        account = Account()
        account.turn_to("steps")
        progress = Progress(
            tmp_path,
            log,
            900,
            earlier,
            account,
            rows_of=lambda step: [10 * step, 10 * step + 1],
            rates=lambda tokens_per_second: {"mfu": 0.25},
        )
        made.append(progress)
        return progress

    yield open_progress
    for progress in made:
        progress.close()


@pytest.fixture
def progress(opened):
    return opened({})


def written(tmp_path):
    return [row for _, row in files.read_jsonl(tmp_path / "metrics.jsonl")]


def test_the_line_is_the_one_the_documentation_shows():
    scalars = {"loss": 1.2341, "accuracy": 0.61, "tokens_per_second": 12345.4, "mfu": 0.412}
    line = "step 120/900  loss 1.234  acc 0.610  tokens/s 12,345  mfu 0.41  left 0:42"
    assert progress_line(120, 900, scalars, 42.3) == line
    del scalars["mfu"]
    assert progress_line(120, 900, scalars, 42.3) == line.replace("mfu 0.41  ", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (10809, "3:00:09")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_window_is_averaged_over_its_loss_tokens_and_reaches_tensorboard(progress, tmp_path):
    progress.add(metrics(loss=2.0))
    progress.add(metrics(loss=4.0, grad_norm=3.0))
    progress.read(learning_rate=0.5)
    assert progress.last["loss"] == 1.5
    assert progress.last["accuracy"] == 0.5
    assert progress.last["grad_norm"] == 2.0
    assert progress.last["mfu"] == 0.25
    assert progress.state()["tokens"] == 6
    progress.note(2, {"validation/x": 0.125})
    progress.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"train/loss" in content and struct.pack("<f", 1.5) in content
    assert b"validation/x" in content and struct.pack("<f", 0.125) in content


def test_a_resumed_run_goes_on_counting(opened, progress, tmp_path):
    progress.add(metrics())
    progress.read(learning_rate=0.5)
    saved = progress.state()
    progress.add(metrics())
    progress.read(learning_rate=0.5)  # lost: the run was saved before
    lost = written(tmp_path)[-1]["seconds"]
    resumed = opened(saved)
    assert resumed._account.seconds()["repeated"] == pytest.approx(lost)
    resumed.add(metrics())
    resumed.add(metrics())
    resumed.read(learning_rate=0.25)
    assert resumed.tokens == 9 and resumed.step == 3
    assert resumed.seconds > saved["spent"]["steps"]
    assert [(row["step"], row["learning_rate"]) for row in written(tmp_path)] == [
        (1, 0.5),
        (3, 0.25),
    ]


def test_a_run_saved_inside_a_window_tells_what_an_unbroken_one_tells(opened, tmp_path):
    unbroken = opened({})
    for loss in (2.0, 4.0, 7.1):
        unbroken.add(metrics(loss=loss))
    unbroken.read(learning_rate=0.5)
    (tmp_path / "metrics.jsonl").unlink()

    first = opened({})
    first.add(metrics(loss=2.0))
    first.add(metrics(loss=4.0))
    first.fetch()
    saved = first.state()
    assert not (tmp_path / "metrics.jsonl").exists()
    second = opened(saved)
    second.add(metrics(loss=7.1))
    second.read(learning_rate=0.5)
    for key in ("loss", "accuracy", "loss_tokens", "grad_norm"):
        assert second.last[key] == unbroken.last[key]
    assert second.tokens == unbroken.tokens
    assert second.last["seconds"] >= saved["window_seconds"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"loss": math.nan, "finite": (True, False)}, "step 2: the loss is nan; .* rows 21 of"),
        ({"grad_norm": math.inf}, "step 2: the gradient's norm is inf; .* all its rows, 20, 21 of"),
        ({"loss": math.nan, "finite": (False, False)}, "the step before spoilt the parameters"),
    ],
)
def test_the_first_step_that_is_not_finite_ends_the_run_and_names_its_rows(progress, bad, message):
    progress.add(metrics())
    progress.add(metrics(**bad))
    progress.add(metrics(loss=math.nan))
    with pytest.raises(UserError, match=message):
        progress.read(learning_rate=0.5)


def test_a_line_that_a_crash_cut_does_not_spoil_the_next(opened, progress, tmp_path):
    progress.add(metrics())
    progress.read(learning_rate=0.5)
    saved = progress.state()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    resumed = opened(saved)
    resumed.add(metrics())
    resumed.read(learning_rate=0.5)
    assert [row["step"] for row in written(tmp_path)] == [1, 2]


def test_step_times_leave_out_what_comes_between(progress):
    for _ in range(3):
        progress.add(metrics())
    progress.pause()
    progress.add(metrics())
    assert len(progress.durations) == 2


def test_the_writer_does_not_bring_torch_or_tensorflow(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from teacherlm_jax.training.tensorboard import EventWriter\n"
        "EventWriter(Path(sys.argv[1]), 1).close()\n"
        "print([name for name in ('torch', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_metrics_that_cannot_be_written_name_their_file(progress, tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    progress.add(metrics())
    with pytest.raises(OSError, match="No space left") as error:
        progress.read(learning_rate=0.5)
    assert error.value.filename == str(tmp_path / "metrics.jsonl")
