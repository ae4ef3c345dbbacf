"""Files of a round of STaR, with texts that a model might have written in place of a model."""

import dataclasses
from pathlib import Path

import pytest

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import from_row, to_row
from teacherlm_jax.pipelines import star_files, star_rows, star_steps
from teacherlm_jax.pipelines.star_rows import FILTERED, RATIONALIZED
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files

QUESTIONS = list(synthetic.generate(6, 0, ("kinds", "months"), "unlabelled"))
TEST = list(synthetic.generate(4, 0, ("kinds", "months"), "test"))
SEED_SET = list(synthetic.generate(2, 0, ("kinds", "months"), "train"))
PROVENANCE = {
    "step": 4,
    "model_digest": "sha256:1",
    "prompt_version": "1",
    "seed": 1,
    "sampling": {"temperature": 0.5},
    "dtype": "float32",
}


def right(sample):
    return star_rows.conclude(sample, "It follows from the question.")


def wrong(sample):
    return f"It follows. The answer is ({'B' if sample.answer == '(A)' else 'A'})."


@pytest.fixture
def opened(tmp_path):
    """The run folder of a round whose model answered every second question."""
    source = config.SourceConfig
    for name, samples in (("seed", SEED_SET), ("questions", QUESTIONS), ("test", TEST)):
        files.write_jsonl(tmp_path / f"{name}.jsonl", map(to_row, samples))
    settings = config.StarConfig(
        output=str(tmp_path / "runs"),
        root=str(tmp_path),
        explained=source("explained", "seed.jsonl"),
        author=synthetic.AUTHOR,
        questions=source("questions", "questions.jsonl"),
        test=source("test", "test.jsonl"),
        rounds=1,
        vocabulary=config.VocabularyConfig("unused"),
        gates=("finished", "not_empty"),
    )
    with run_folder.open_run(settings.output, "star", settings) as run:
        star_files.read_datasets(settings, run)
        written(run, "round-1/attempts", QUESTIONS, [right, wrong] * 3)
        star_files.filter_attempts(settings, 1, run)
        yield settings, run


def written(run, step, samples, texts):
    """Write the samples of an `annotate` run with these texts, the last ones first."""
    rows = [
        {
            **to_row(star_rows.masked(sample)),
            "explanations": {"cot": {"star": text(sample)}},
            "annotations": {
                "cot": {"author": "star", "gates": {}, "finish_reason": "eos", **PROVENANCE}
            },
        }
        for sample, text in zip(samples, texts, strict=True)
    ]
    files.write_jsonl(run.path / step / "samples/part-00000.jsonl", rows[::-1])


def rows_of(run, name):
    return [row for _, row in files.read_jsonl(run.path / "round-1" / name)]


def ids(rows):
    return [row["id"] for row in rows]


def test_right_attempts_are_kept_and_all_other_questions_are_left_with_their_answers(opened):
    _, run = opened
    assert ids(rows_of(run, "filtered.jsonl")) == [sample.id for sample in QUESTIONS[::2]]
    left = [from_row(row) for row in rows_of(run, "wrong.jsonl")]
    assert [sample.id for sample in left] == [sample.id for sample in QUESTIONS[1::2]]
    assert [sample.answer for sample in left] == [sample.answer for sample in QUESTIONS[1::2]]
    assert all(sample.options and not sample.explanations for sample in left)


def test_kept_rows_are_in_the_order_of_the_questions_with_their_origins(opened):
    settings, run = opened
    written(run, "round-1/rationalizations", QUESTIONS[1::2], [right, wrong, right])
    star_files.write_examples(settings, 1, run)
    kept = rows_of(run, "kept.jsonl")
    assert ids(kept) == [QUESTIONS[index].id for index in (0, 1, 2, 4, 5)]
    annotations = [row["annotations"]["cot"] for row in kept]
    assert [one["origin"] for one in annotations] == [
        FILTERED, RATIONALIZED, FILTERED, FILTERED, RATIONALIZED,
    ]  # fmt: skip
    assert all(one.items() >= (PROVENANCE | {"round": 1}).items() for one in annotations)
    examples = rows_of(run, "examples.jsonl")
    assert len(examples) == 2 * len(SEED_SET) + 5
    for row in examples:
        assert row["answer"] == "The answer is (?)." or row["id"].startswith("hint/")


def test_without_rationalization_only_right_attempts_are_trained(opened):
    settings, run = opened
    star_files.write_examples(settings, 1, run)
    assert ids(rows_of(run, "kept.jsonl")) == ids(rows_of(run, "filtered.jsonl"))


def test_the_examples_of_round_0_are_the_seed_set(opened):
    settings, run = opened
    star_files.write_examples(settings, 0, run)
    rows = [row for _, row in files.read_jsonl(run.path / "round-0/examples.jsonl")]
    expected = [f"{part}/{sample.id}" for sample in SEED_SET for part in ("seed", "hint")]
    assert ids(rows) == expected


def test_seed_texts_that_state_another_answer_are_refused_and_counted(opened):
    settings, run = opened
    (seed, other), author = SEED_SET, synthetic.AUTHOR
    explained = [
        dataclasses.replace(seed, explanations={"cot": {author: wrong(seed)}}),
        dataclasses.replace(other, explanations={"cot": {author: right(other)}}),
    ]
    path = Path(settings.root) / settings.explained.path
    files.write_jsonl(path, map(to_row, explained))
    star_files.read_datasets(settings, run)
    rows = [row for _, row in files.read_jsonl(run.path / "samples/explained.jsonl")]
    assert ids(rows) == [other.id]
    (refused,) = (row for _, row in files.read_jsonl(run.path / "refused.jsonl"))
    assert refused["line"] == 1 and "another answer" in refused["reason"]
    log = (run.path / "log.txt").read_text()
    assert "1 row refused: its chain of thought ends in 'The answer is" in log
    star_files.write_examples(settings, 0, run)
    examples = [row for _, row in files.read_jsonl(run.path / "round-0/examples.jsonl")]
    assert {row["explanations"]["cot"]["star"] for row in examples} == {right(other)}


def test_the_figures_of_a_round_count_texts_by_what_became_of_them(opened):
    settings, run = opened
    written(run, "round-0/test", TEST, [right, wrong, wrong, wrong])
    written(run, "round-1/test", TEST, [right, right, wrong, right])
    written(run, "round-1/rationalizations", QUESTIONS[1::2], [right, wrong, right])
    star_files.write_examples(settings, 1, run)
    for number in (0, 1):
        star_files.write_round(settings, number, run)
    first, second = star_files.read_rounds(settings)
    assert first["accuracy"] == second["accuracy_before"] == 0.25
    assert second["accuracy"] == 0.75
    assert second["interval"][0] < 0.75 < second["interval"][1]
    assert second["attempts"] == {
        "texts": 6, "right": 3, "kept": 3, "not_kept": {"wrong answer": 3},
    }  # fmt: skip
    assert second["rationalizations"]["kept"] == 2
    assert second["kept"] == 5
    assert star_files.round_line(second) == (
        "round 1: accuracy 75.0%; kept 5 of 6: 3 filtered, 2 rationalized"
    )


def test_rationalization_is_passed_over_if_every_attempt_was_right(opened):
    settings, run = opened
    (step,) = [s for s in star_steps.steps_of(settings) if s.name == "round-1/rationalizations"]
    assert step.needed()
    written(run, "round-1/attempts", QUESTIONS, [right] * 6)
    star_files.filter_attempts(settings, 1, run)
    assert not step.needed()


def test_accuracy_is_measured_greedily_and_each_round_samples_with_its_own_seed(opened):
    settings, _ = opened
    attempts = [star_steps._attempts(settings, number) for number in (1, 2)]
    assert [one.seed for one in attempts] == [1, 2]
    assert attempts[1].teachers.cot.endswith("round-1/model")
    test = star_steps._test(settings, 1)
    assert test.sampling.temperature == 0.0 and test.teachers.cot.endswith("round-1/model")
    assert settings.sampling.temperature == attempts[0].sampling.temperature == 0.7


def test_the_config_file_of_every_command_returns_its_settings(opened):
    settings, _ = opened
    for number in (0, 1):
        for make in (star_steps._attempts, star_steps._rationalizations, star_steps._test,
                     star_steps._prepare, star_steps._train):  # fmt: skip
            expected, written_here = make(settings, number), {}
            exec(star_steps._config_file("step", expected), written_here)
            assert written_here["get_config"]("") == expected
            config.fields.check(expected)
