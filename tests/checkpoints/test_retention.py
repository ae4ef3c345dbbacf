import dataclasses
import shutil

import jax.numpy as jnp
import pytest

from teacherlm_jax.checkpoints import retention, selection
from teacherlm_jax.checkpoints.saved_model import open_checkpoint
from teacherlm_jax.checkpoints.store import Checkpoints


@dataclasses.dataclass
class Saved:
    step: int


@pytest.mark.parametrize(
    ("newest", "best", "losses", "expected"),
    [
        (1, 0, {}, [6]),
        (2, 0, {}, [5, 6]),
        (9, 0, {}, [1, 2, 3, 4, 5, 6]),
        (1, 1, {2: 0.5, 4: 0.3, 6: 0.4}, [4, 6]),
        (1, 2, {2: 0.5, 4: 0.3, 6: 0.4}, [4, 6]),
        (2, 2, {2: 0.2, 4: 0.3, 6: 0.4}, [2, 4, 5, 6]),
        (1, 1, {2: 0.3, 4: 0.3}, [2, 6]),  # the earlier of two equal losses
        (1, 1, {7: 0.1, 4: 0.3}, [4, 6]),  # step 7 was validated but not saved
        (1, 1, {}, [6]),
    ],
)
def test_the_newest_checkpoints_and_the_best_are_kept(newest, best, losses, expected):
    rows = [{"step": step, "held_out/loss": loss} for step, loss in losses.items()]
    policy = retention.RetentionPolicy(
        newest, best, lambda: selection.ranking(rows, "held_out/loss")
    )
    saved = [Saved(step) for step in range(1, 7)]
    actual = policy.should_preserve(saved, context=None)
    kept = [checkpoint.step for checkpoint, keep in zip(saved, actual, strict=True) if keep]
    assert kept == expected


def save(checkpoints, step):
    checkpoints.save(step, {"x": jnp.arange(4.0) + step}, {"step": jnp.int32(step)}, {})


def test_a_run_saves_at_its_interval_and_keeps_the_best_by_validation(tmp_path):
    """Save seven times with a validation before every second save, like a run."""
    losses = {2: 0.5, 4: 0.3, 6: 0.4}
    rows = []
    checkpoints = Checkpoints(
        tmp_path, keep=1, best=1, ranking=lambda: selection.ranking(rows, "loss")
    )
    after = []
    for step in range(1, 8):
        if step in losses:
            rows.append({"step": step, "loss": losses[step]})
        save(checkpoints, step)
        checkpoints.wait()
        after.append(sorted(path.name for path in checkpoints.folder.iterdir()))
    checkpoints.close()
    assert Checkpoints(tmp_path).steps() == [4, 7]
    assert after == [["1"], ["2"], ["2", "3"], ["4"], ["4", "5"], ["4", "6"], ["4", "7"]]


def test_an_interrupted_save_removes_no_earlier_checkpoint(tmp_path, monkeypatch):
    """The new best step is validated, and the process dies before it is saved."""
    rows = [{"step": 1, "loss": 0.5}]
    checkpoints = Checkpoints(
        tmp_path, keep=1, best=1, ranking=lambda: selection.ranking(rows, "loss")
    )
    for step in (1, 2):
        save(checkpoints, step)
    checkpoints.wait()
    rows.append({"step": 3, "loss": 0.1})

    def fails(*args, **kwargs):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("orbax.checkpoint._src.path.atomicity.async_path.rename", fails)
        save(checkpoints, 3)
        with pytest.raises(OSError, match="the disk is gone"):
            checkpoints.wait()
    checkpoints.close()
    assert Checkpoints(tmp_path).steps() == [1, 2]


def test_removals_that_a_killed_process_left_are_finished_by_the_next(tmp_path):
    rows = [{"step": 1, "loss": 0.5}]
    checkpoints = Checkpoints(tmp_path, keep=4)
    for step in (1, 2, 3, 4):
        save(checkpoints, step)
    checkpoints.close()
    again = Checkpoints(tmp_path, 1, 1, lambda: selection.ranking(rows, "loss"))
    again.finish()
    again.close()
    assert sorted(path.name for path in again.folder.iterdir()) == ["1", "4"]


def test_a_crash_during_removal_leaves_no_partial_checkpoint(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: None)  # the process dies before the removal
        save(checkpoints, 2)
        checkpoints.close()
    half_removed = checkpoints.folder / retention.REMOVED / "1"
    shutil.rmtree(half_removed / "params")
    actual, step = open_checkpoint(tmp_path)
    assert (actual.steps(), step) == ([2], 2)
    assert half_removed.exists(), "readers must not finish a writer's removals"
    Checkpoints(tmp_path, keep=1).close()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["2"]
