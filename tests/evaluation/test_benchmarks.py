"""Prompts of benchmarks against the authors' own rows and against the published forms."""

import json

import pytest

from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig, fields
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

FILES = {
    "creak": ("creak.jsonl", 674, 2),
    "ecqa": ("ecqa.jsonl", 1091, 5),
    "strategyqa": ("strategy_qa.jsonl", 105, 2),
    "mmlu": ("mmlu_test.jsonl", 6949, 4),
}


@pytest.fixture
def refused(tmp_path):
    side_file = RefusedRows(tmp_path / "refused.jsonl")
    yield side_file
    side_file.close()


def _read(folder, refused, format, style):
    asked = BenchmarkConfig(name=format, path=FILES[format][0], format=format, style=style)
    questions = benchmarks.read(asked, str(folder), refused)
    assert refused.total == 0
    with (folder / FILES[format][0]).open() as file:
        rows = [json.loads(line) for line in file]
    assert len(questions) == len(rows) == FILES[format][1]
    return list(zip(questions, rows, strict=True))


@pytest.mark.parametrize("format", ["creak", "ecqa", "strategyqa"])
def test_authors_style_equals_the_authors_own_field(shared_data, refused, format):
    for question, row in _read(shared_data / "eval", refused, format, "authors"):
        assert question.context == f"Q: {row['question']} A: The answer is ("
        assert question.options == tuple("ABCDE"[: FILES[format][2]])
        assert f"({question.options[question.gold]})" == row["answer"]


def test_authors_style_of_mmlu_equals_the_published_form(shared_data, refused):
    for question, row in _read(shared_data / "eval", refused, "mmlu", "authors"):
        asked = row["question"].strip().replace("\n", " ")
        stop = "" if asked[-1] in '.,?!"' else "."
        a, b, c, d = (choice.replace("\n", " ") for choice in row["choices"])
        assert question.context == (
            "The following are multiple choice questions (with answers) about "
            f"{row['subject'].replace('_', ' ')}. "
            f"Q: {asked}{stop} (A) {a} (B) {b} (C) {c} (D) {d} A: The answer is ("
        )
        assert question.options[question.gold] == row["answer"]
        assert question.subject == row["subject"].replace("_", " ")


def test_clean_style_asks_ecqa_once_and_without_double_spaces(shared_data, refused):
    for question, row in _read(shared_data / "eval", refused, "ecqa", "clean"):
        assert question.context == f"{row['question'].replace('  ', ' ')} A: The answer is ("


def test_clean_style_names_the_subject_only_when_told_to():
    sample = Sample(id="1", question="Up?", answer="(B)", options=("no", "yes"), subject="law")
    plain = benchmarks.question(sample, BenchmarkConfig(name="x", format="mmlu"))
    told = benchmarks.question(sample, BenchmarkConfig(name="x", subject_prefix=True))
    assert plain.context == "Q: Up? (A) no (B) yes A: The answer is ("
    assert told.context == (
        "The following are multiple choice questions (with answers) about law. " + plain.context
    )
    assert (plain.gold, plain.options, plain.subject) == (1, ("A", "B"), "law")


def test_samples_without_options_are_refused_and_counted(tmp_path, refused):
    rows = [
        {"id": "open", "question": "6 * 7?", "answer": "42"},
        {"id": "closed", "question": "6 * 7?", "answer": "42", "options": ["41", "42"]},
        {"id": "broken", "question": "6 * 7?", "answer": "43", "options": ["41", "42"]},
    ]
    files.write_jsonl(tmp_path / "set.jsonl", rows)
    asked = BenchmarkConfig(name="set", path="set.jsonl")
    questions = benchmarks.read(asked, str(tmp_path), refused)
    assert [question.id for question in questions] == ["closed"]
    assert refused.total == 2
    path = str(tmp_path / "set.jsonl")
    assert next(row for _, row in files.read_jsonl(refused.path)) == {
        "file": path,
        "line": 1,
        "reason": "no options to rank",
        "row": rows[0],
    }


def test_a_set_without_any_options_is_an_error(tmp_path, refused):
    files.write_jsonl(tmp_path / "set.jsonl", [{"id": "1", "question": "6 * 7?", "answer": "42"}])
    with pytest.raises(UserError, match="set.jsonl makes a usable sample .*no options to rank"):
        benchmarks.read(BenchmarkConfig(name="set", path="set.jsonl"), str(tmp_path), refused)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([{"name": ""}], r"config.benchmarks\[0\].name: empty"),
        ([{"name": "a"}, {"name": "../x"}], r"benchmarks\[1\].name: '../x' cannot name a file"),
        ([{"name": "a$b"}], "cannot name a file; use letters, digits"),
        ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "benchmarks: two have the name 'a'"),
        ([{"name": "a", "format": "race"}], r"benchmarks\[0\].format: expected one of 'sample'"),
        ([{"name": "a", "style": "author"}], "did you mean 'authors'"),
    ],
)
def test_what_no_benchmark_can_be_is_refused_with_the_config(settings, message):
    sets = tuple(BenchmarkConfig(**{"path": "x.jsonl", **each}) for each in settings)
    with pytest.raises(UserError, match=message):
        fields.check(EvaluateConfig(output="o", model="m", benchmarks=sets))
    fields.check(EvaluateConfig(output="o", model="m", benchmarks=(BenchmarkConfig("a", "x"),)))
