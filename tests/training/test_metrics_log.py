import logging
import math

import jax.numpy as jnp
import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.training.chronometer import Chronometer
from teacherlm_jax.training.metrics_log import MetricsLog, history, progress_line


def metrics(loss=2.0, grad_norm=1.0, finite=(True, True), loss_tokens=2.0):
    values = {"loss": loss, "correct": 1.0, "loss_tokens": loss_tokens, "tokens": 3.0}
    scalars = {key: jnp.float32(value) for key, value in {**values, "grad_norm": grad_norm}.items()}
    return {**scalars, "finite": jnp.array(finite)}


@pytest.fixture
def log():
    return logging.getLogger("teacherlm.test_metrics_log")


@pytest.fixture
def opened(tmp_path, log):
    """Function that opens a MetricsLog in the test's folder, with an earlier state."""
    logs, tracked = [], []

    def open_log(earlier):
        chrono = Chronometer()
        chrono.begin("steps")
        metrics_log = MetricsLog(
            tmp_path,
            log,
            900,
            earlier,
            chrono,
            rows_of=lambda step: [10 * step, 10 * step + 1],
            rates=lambda tokens_per_second: {"mfu": 0.25},
            track=lambda scalars, step: tracked.append((step, scalars)),
        )
        metrics_log.tracked = tracked
        logs.append(metrics_log)
        return metrics_log

    yield open_log
    for metrics_log in logs:
        metrics_log._chrono.close()


@pytest.fixture
def metrics_log(opened):
    return opened({})


def written(tmp_path):
    return [row for _, row in files.read_jsonl(tmp_path / "metrics.jsonl")]


def test_the_line_is_the_one_the_documentation_shows():
    scalars = {
        "loss": 1.2341,
        "accuracy": 0.61,
        "grad_norm": 0.519,
        "learning_rate": 3e-4,
        "tokens_per_second": 12345.4,
        "mfu": 0.412,
    }
    line = (
        "step 120/900  loss 1.234  acc 0.610  grad 0.52  lr 3.0e-04  tokens/s 12,345  mfu 0.41  "
        "eta 0:42"
    )
    assert progress_line(120, 900, scalars, 42.3) == line
    del scalars["mfu"]
    assert progress_line(120, 900, scalars, 42.3) == line.replace("mfu 0.41  ", "")


def test_a_window_is_averaged_over_its_loss_tokens_and_is_tracked(metrics_log, tmp_path):
    metrics_log.add(metrics(loss=2.0))
    metrics_log.add(metrics(loss=4.0, grad_norm=3.0))
    metrics_log.write(learning_rate=0.5)
    assert metrics_log.last["loss"] == 1.5
    assert metrics_log.last["accuracy"] == 0.5
    assert metrics_log.last["grad_norm"] == 2.0
    assert metrics_log.last["mfu"] == 0.25
    assert metrics_log.state()["tokens"] == 6
    ((step, scalars),) = metrics_log.tracked
    assert step == 2 and scalars["train/loss"] == 1.5 and scalars["train/mfu"] == 0.25
    rows = [{"step": 2, "x": 0.125}, {"step": 3, "x": 0.5}]
    files.write_jsonl(tmp_path / "validation.jsonl", rows)
    assert history(tmp_path, 2) == [(2, scalars), (2, {"validation/x": 0.125})]


def test_a_resumed_run_continues_to_count(opened, metrics_log, tmp_path):
    metrics_log.add(metrics())
    metrics_log.write(learning_rate=0.5)
    saved = metrics_log.state()
    metrics_log.add(metrics())
    metrics_log.write(learning_rate=0.5)  # lost: the run was saved before this step
    lost = written(tmp_path)[-1]["seconds"]
    resumed = opened(saved)
    assert resumed._chrono.seconds()["repeated"] == pytest.approx(lost)
    resumed.add(metrics())
    resumed.add(metrics())
    resumed.write(learning_rate=0.25)
    assert resumed.tokens == 9 and resumed.step == 3
    assert resumed._chrono.training_seconds > saved["spent"]["steps"]
    assert [(row["step"], row["learning_rate"]) for row in written(tmp_path)] == [
        (1, 0.5),
        (3, 0.25),
    ]


def test_a_run_saved_inside_a_window_logs_what_an_uninterrupted_one_logs(opened, tmp_path):
    unbroken = opened({})
    for loss in (2.0, 4.0, 7.1):
        unbroken.add(metrics(loss=loss))
    unbroken.write(learning_rate=0.5)
    (tmp_path / "metrics.jsonl").unlink()

    first = opened({})
    first.add(metrics(loss=2.0))
    first.add(metrics(loss=4.0))
    first.fetch()
    saved = first.state()
    assert not (tmp_path / "metrics.jsonl").exists()
    second = opened(saved)
    second.add(metrics(loss=7.1))
    second.write(learning_rate=0.5)
    for key in ("loss", "accuracy", "loss_tokens", "grad_norm"):
        assert second.last[key] == unbroken.last[key]
    assert second.tokens == unbroken.tokens
    assert second.last["seconds"] >= saved["window_seconds"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"loss": math.nan, "finite": (True, False)}, "step 2: the loss is nan: .* rows 21 of"),
        (
            {"grad_norm": math.inf},
            "step 2: the gradient norm is inf: .* finite for all rows, 20, 21 of",
        ),
        (
            {"loss": math.nan, "finite": (False, False)},
            "every row gives NaN, so an earlier step corrupted the parameters",
        ),
    ],
)
def test_the_first_step_that_is_not_finite_ends_the_run_and_names_its_rows(
    metrics_log, bad, message
):
    metrics_log.add(metrics())
    metrics_log.add(metrics(**bad))
    metrics_log.add(metrics(loss=math.nan))
    with pytest.raises(UserError, match=message):
        metrics_log.write(learning_rate=0.5)


def test_a_window_without_loss_tokens_has_no_loss(opened, tmp_path, caplog):
    metrics_log = opened({})
    metrics_log._log.propagate = True
    metrics_log.add(metrics(loss=4.0))
    metrics_log.write(learning_rate=0.5)
    with caplog.at_level(logging.INFO):
        metrics_log.add(metrics(loss=0.0, loss_tokens=0.0))
        metrics_log.write(learning_rate=0.5)
    assert "loss n/a  acc n/a" in caplog.messages[0]
    assert caplog.messages[1].startswith(
        "steps 2 to 2: the loss mask of their packed rows is empty"
    )
    first, second = written(tmp_path)
    assert first["loss"] == 2.0
    assert "loss" not in second and "accuracy" not in second and second["loss_tokens"] == 0
    assert metrics_log.last["loss"] == 2.0


def test_an_incomplete_line_left_by_a_crash_is_removed(opened, metrics_log, tmp_path):
    metrics_log.add(metrics())
    metrics_log.write(learning_rate=0.5)
    saved = metrics_log.state()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    resumed = opened(saved)
    resumed.add(metrics())
    resumed.write(learning_rate=0.5)
    assert [row["step"] for row in written(tmp_path)] == [1, 2]


def test_metrics_that_cannot_be_written_name_their_file(metrics_log, tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    metrics_log.add(metrics())
    with pytest.raises(OSError, match="No space left") as error:
        metrics_log.write(learning_rate=0.5)
    assert error.value.filename == str(tmp_path / "metrics.jsonl")
