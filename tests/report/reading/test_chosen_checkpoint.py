"""The checkpoint that readers prefer becomes the best one of its run."""

import pytest

from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.cli import main
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.report.reading import page_key
from teacherlm_jax.report.reading.chosen_checkpoint import winner
from teacherlm_jax.report.reading.win_rates import MeanRating, WinRate
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.blank_model import save_blank


def win(first, second, share, kind="cot"):
    return WinRate(first, second, kind, 0, 0, 0, 9, share, (share - 0.1, share + 0.1))


def mean(teacher, value, kind="cot"):
    return MeanRating(teacher, kind, 9, 9, value, None)


def test_the_winner_beats_all_others_directly_or_through_others():
    rates = [win("c", "b", 0.6), win("b", "a", 0.7)]
    assert winner(["a", "b", "c"], rates, []) == ("c", "win rate 60.0% (50.0 to 70.0) against b")
    assert winner(["a", "b"], [win("a", "b", 0.4)], [])[0] == "b"
    assert winner(["a", "b"], [win("a", "b", 0.4)], [])[1] == (
        "win rate 60.0% (50.0 to 70.0) against a"
    )


def test_the_win_rate_over_all_kinds_counts():
    rates = [win("a", "b", 0.6, "all"), win("a", "b", 0.9), win("a", "b", 0.3, "mistake")]
    assert winner(["a", "b"], rates, [])[1].startswith("win rate 60.0%")
    assert winner(["a", "b"], [win("b", "a", 0.4, "all"), win("b", "a", 0.9)], [])[0] == "a"


@pytest.mark.parametrize(
    "rates",
    [
        [win("a", "b", 0.5)],
        [win("a", "b", 0.6), win("b", "c", 0.6), win("c", "a", 0.6)],
        [win("a", "b", 0.6), win("c", "d", 0.6)],
        [win("a", "b", 0.6), win("c", "b", 0.6)],
    ],
)
def test_without_a_single_winner_the_choice_is_refused(rates):
    teachers = sorted({name for rate in rates for name in rate[:2]})
    with pytest.raises(UserError, match="the comparisons have no single winner"):
        winner(teachers, rates, [])


def test_without_comparisons_the_mean_rating_decides():
    means = [mean("a", 3.5, "all"), mean("a", 5), mean("b", 4)]
    assert winner(["a", "b"], [], means) == ("b", "mean rating 4.00 of 9 explanations")
    with pytest.raises(UserError, match="a and b have the same mean rating, 4.00"):
        winner(["a", "b"], [], [mean("a", 4.0), mean("b", 4.0)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory, vocabulary):
    """Return a run with the checkpoints 300 and 600, and the digest of each."""
    run = save_blank(tmp_path_factory.mktemp("stage2"), vocabulary, {300: 0.5, 600: 0.25})
    files.write_json(run / "config.json", {"verb": "train", "config": {}})
    steps = (300, 600)
    return run, {step: any_model.describe(run / f"checkpoints/{step}").digest for step in steps}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return train_sentencepiece(
        ["one two three four"] * 9, tmp_path_factory.mktemp("vocabulary"), size=400, seed=0
    )


@pytest.fixture
def ratings(rate, saved, monkeypatch):
    """Return ratings by which the earlier checkpoint, `one`, wins."""
    lines = [(f"s-{n}", "cot", 4, 3, "left") for n in range(6)]

    def write(digests):
        path = rate("anna", lines)
        first, *rest = files.read_jsonl(path)
        key = page_key.decoded(first[1]["key"], "")
        for teacher, digest in zip(key.teachers, digests, strict=True):
            for models in teacher.models.values():
                models[0]["model_digest"] = digest
        rows = [first[1] | {"key": key.encoded()}, *(row for _, row in rest)]
        files.write_jsonl(path, rows)
        return path

    return write


def test_the_winner_becomes_the_best_checkpoint_of_its_run(saved, ratings, capsys):
    run, digests = saved
    path = ratings(digests.values())
    with pytest.raises(UserError, match="its best checkpoint is unknown"):
        saved_model.open_checkpoint(run / "checkpoints/best")
    assert main.main(["report", "--ratings", str(path), f"--config.select={run}"]) == 0
    assert "best is now this checkpoint" in capsys.readouterr().out
    record = files.read_json(run / "selection.json")
    assert (record["step"], record["teacher"]) == (300, "one")
    assert record["steps"] == {"one": 300, "two": 600}
    assert [*record["ratings"]] == [str(path)]
    assert record["reason"].startswith("win rate 100.0% (61.0 to 100.0) against two")
    checkpoints, step = saved_model.open_checkpoint(run / "checkpoints/best")
    checkpoints.close()
    assert step == 300
    (run / "selection.json").unlink()


def test_explanations_by_other_models_are_refused(saved, ratings, capsys):
    run, digests = saved
    path = ratings([digests[300], "sha256:0"])
    assert main.main(["report", "--ratings", str(path), f"--config.select={run}"]) == 2
    message = capsys.readouterr().err
    assert "its checkpoints of the steps 300, 600 did not write the explanations of two" in message
    assert not (run / "selection.json").exists()
