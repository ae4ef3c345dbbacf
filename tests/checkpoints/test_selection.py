"""The best step of a run, and the best of the checkpoints that exist."""

import pytest

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

ACCURACY = "creak/accuracy"


def rows(*values, metric=ACCURACY):
    return [{"step": 10 * (index + 1), metric: value} for index, value in enumerate(values)]


@pytest.fixture
def validated(tmp_path):
    """A run that was validated at steps 10 to 40; the first was the best."""
    files.write_json(tmp_path / "config.json", {"config": {"validation": {"metric": ACCURACY}}})
    files.write_jsonl(tmp_path / "validation.jsonl", rows(0.25, 0.19, 0.125, 0.125))
    return tmp_path


@pytest.mark.parametrize(
    ("metric", "values", "ranked"),
    [
        (ACCURACY, (0.25, 0.19, 0.125, 0.125), [10, 20, 30, 40]),
        ("held_out/loss", (2.0, 1.5, 1.5, 3.0), [20, 30, 10, 40]),
        ("held_out/loss", (float("nan"), 2.0, 0.5), [30, 20]),
        ("held_out/loss", (None, 2.0, -float("inf")), [20]),
    ],
)
def test_steps_are_ranked_and_values_that_are_not_numbers_are_never_best(metric, values, ranked):
    assert selection.ranking(rows(*values, metric=metric), metric) == ranked


def test_a_row_without_the_metric_is_left_out():
    assert selection.ranking([{"step": 5}, *rows(0.5)], ACCURACY) == [10]


def test_the_true_best_step_is_known_even_if_its_checkpoint_was_not_kept(validated):
    assert selection.ranking(selection.measurements(validated), ACCURACY)[0] == 10
    assert selection.best_step(validated, [30, 40]) == 30


def test_checkpoints_without_a_value_are_refused_with_a_remedy(validated):
    with pytest.raises(UserError, match=r"none of its checkpoints \(50\) has a value of creak/acc"):
        selection.best_step(validated, [50])
    files.write_json(validated / "config.json", {"config": {}})
    with pytest.raises(UserError, match=r"best checkpoint is unknown; name one of 30, 40"):
        selection.best_step(validated, [30, 40])


def test_the_choice_of_readers_goes_before_the_metric(validated):
    files.write_json(validated / "selection.json", {"step": 40})
    assert selection.best_step(validated, [10, 40]) == 40
    with pytest.raises(
        UserError, match=r"selection.json: chose the checkpoint of step 40, but the"
    ):
        selection.best_step(validated, [10, 30])
    files.write_json(validated / "selection.json", [])
    with pytest.raises(UserError, match="choose again with `teacherlm report --ratings`"):
        selection.best_step(validated, [10, 30])
