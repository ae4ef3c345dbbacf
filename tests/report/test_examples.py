"""The choice of the annotated samples that a report shows."""

import pytest

from teacherlm_jax.report.examples import examples
from teacherlm_jax.storage import files


def _row(number, source):
    return {
        "id": f"{source}{number}",
        "question": "6 * 7?",
        "answer": "42",
        "source": source,
        "explanations": {"cot": {"teacher": "Six sevens.", "human": "By heart."}},
        "annotations": {"cot": {"author": "teacher", "gates": {"finished": True}}},
    }


def _shards(folder, *shards):
    for index, names in enumerate(shards):
        rows = [_row(number, source) for number, source in enumerate(names)]
        files.write_jsonl(folder / f"part-{index:05d}-of-{len(shards):05d}.jsonl", rows)
    return [example.id for example in examples(folder, 3)]


@pytest.mark.parametrize(
    ("shards", "shown"),
    [
        (["aaaaa"], ["a0", "a2", "a4"]),
        (["aa"], ["a0", "a1"]),
        (["ababab"], ["a0", "b1", "a2"]),
        (["abcde"], ["a0", "c2", "e4"]),
        (["aaa", "bbb", "ccc"], ["a0", "b0", "c0"]),
        (["a", "x", "b", "y", "c"], ["a0", "b0", "c0"]),  # first, middle and last shard are read
        ([""], []),
        ([], []),
    ],
)
def test_samples_are_of_different_sources_and_spread_evenly(tmp_path, shards, shown):
    assert _shards(tmp_path, *shards) == shown


def test_an_example_shows_only_the_texts_of_its_annotation(tmp_path):
    _shards(tmp_path, "a")
    (example,) = examples(tmp_path, 3)
    assert example.written == {"cot": ("Six sevens.", {"finished": True})}
    assert (example.question, example.answer) == ("6 * 7?", "42")


def test_samples_that_fail_a_gate_are_shown_beside_those_that_pass(tmp_path):
    rows = [_row(number, "a") for number in range(100)]
    for number in (30, 60):
        rows[number]["annotations"]["cot"]["gates"]["finished"] = False
    files.write_jsonl(tmp_path / "part-00000-of-00001.jsonl", rows)
    chosen = examples(tmp_path, 10, failing=5)
    assert [example.id for example in chosen if example.fails] == ["a30", "a60"]
    assert len(chosen) == 10
    assert examples(tmp_path, 1)[0].id == "a0"
