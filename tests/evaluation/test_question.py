"""Prompts of benchmarks, compared with the authors' own rows and with the published forms."""

import json

import pytest

from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.evaluation.question import Question
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
    name, rows, _ = FILES[format]
    benchmark = BenchmarkConfig(name=format, path=name, format=format, style=style)
    questions = benchmarks.read(benchmark, str(folder), refused)
    assert refused.total == 0
    raw = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    assert len(questions) == len(raw) == rows
    return list(zip(questions, raw, strict=True))


@pytest.mark.parametrize("format", ["creak", "ecqa", "strategyqa"])
def test_authors_style_equals_the_authors_own_prompts(shared_data, refused, format):
    for question, row in _read(shared_data / "eval", refused, format, "authors"):
        assert question.context == f"Q: {row['question']} A: The answer is ("
        assert not question.begin
        assert question.options == tuple("ABCDE"[: FILES[format][2]])
        assert f"({question.options[question.gold]})" == row["answer"]


def test_authors_style_of_mmlu_equals_the_published_form(shared_data, refused):
    for question, row in _read(shared_data / "eval", refused, "mmlu", "authors"):
        expected = row["question"].replace("\n", " ")
        stop = "" if expected[-1] in '.,?!"' else "."
        a, b, c, d = (choice.replace("\n", " ") for choice in row["choices"])
        assert question.context == (
            "The following are multiple choice questions (with answers) about "
            f"{row['subject'].replace('_', ' ')}. "
            f"Q: {expected}{stop} (A) {a} (B) {b} (C) {c} (D) {d} A: The answer is ("
        )
        assert question.options[question.gold] == row["answer"]
        assert question.subject == row["subject"].replace("_", " ")


def test_clean_style_asks_ecqa_once_and_without_double_spaces(shared_data, refused):
    for question, row in _read(shared_data / "eval", refused, "ecqa", "clean"):
        assert question.context == f"{row['question'].replace('  ', ' ')} A: The answer is ("


def test_clean_style_names_the_subject_only_with_subject_prefix():
    sample = Sample(id="1", question="Up?", answer="(B)", options=("no", "yes"), subject="law")
    plain = Question.from_sample(sample, BenchmarkConfig(name="x", format="mmlu"))
    prefixed = Question.from_sample(sample, BenchmarkConfig(name="x", subject_prefix=True))
    assert plain.context == "Q: Up? (A) no (B) yes A: The answer is ("
    assert prefixed.context == (
        "The following are multiple choice questions (with answers) about law. " + plain.context
    )
    assert (plain.gold, plain.options, plain.subject) == (1, ("A", "B"), "law")


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ("Up?", "Up?"),
        ("Up", "Up."),
        (" _______, where\nit is", " _______, where it is."),
        ("heinous acts. ", "heinous acts. ."),
        ('He said "up"', 'He said "up"'),
        ("a  b,\n", "a  b, ."),
    ],
)
def test_authors_style_of_mmlu_keeps_outer_white_space_and_ends_the_sentence(
    tmp_path, refused, published, expected
):
    row = {"question": published, "choices": ["no", " yes"], "answer": 1, "subject": "world_law"}
    files.write_jsonl(tmp_path / "mmlu.jsonl", [row])
    benchmark = BenchmarkConfig("m", "mmlu.jsonl", "mmlu", style="authors")
    (question,) = benchmarks.read(benchmark, str(tmp_path), refused)
    assert question.context == (
        "The following are multiple choice questions (with answers) about world law. "
        f"Q: {expected} (A) no (B)  yes A: The answer is ("
    )
    assert not question.begin


def test_texts_are_scored_after_the_question_alone():
    sample = Sample(id="1", question="Up?", answer="(C)", options=("no", "yes", "yes "))
    question = Question.from_sample(sample, BenchmarkConfig("x", score="texts"))
    assert question.context == "Q: Up? A:"
    assert question.options == (" no", " yes", " yes")
    assert question.gold == 1  # equal options have equal scores, and the first one wins
    assert question.begin


def test_the_shared_mmlu_rows_include_outer_white_space(shared_data):
    lines = (shared_data / "eval" / "mmlu_test.jsonl").read_text().splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    assert sum(text != text.strip() for text in questions) > 100


def test_strategyqa_without_facts_asks_the_question_alone(shared_data, refused):
    benchmark = BenchmarkConfig("s", "strategy_qa.jsonl", "strategyqa_without_facts")
    questions = benchmarks.read(benchmark, str(shared_data / "eval"), refused)
    rows = [row for _, row in files.read_jsonl(shared_data / "eval" / "strategy_qa.jsonl")]
    for question, row in zip(questions, rows, strict=True):
        asked = " ".join(row["origin_question"].split())
        assert question.context == f"Q: {asked} (A) True (B) False A: The answer is ("
        assert question.gold == (not row["origin_answer"])


def test_rows_of_the_original_strategyqa_files_have_the_questions_of_the_authors(tmp_path, refused):
    fact, question = "Ice is cold.", "Is ice hot?"
    original = {"qid": "1", "question": question, "answer": False, "facts": [fact]}
    authors = {"qid": "2", "origin_question": question, "origin_answer": False, "facts": [fact]}
    files.write_jsonl(tmp_path / "rows.jsonl", [original, authors | {"question": "Fact 1: …"}])
    for format, asked in (
        ("strategyqa", "Fact 1: Ice is cold. Given these facts above, is ice hot?"),
        ("strategyqa_without_facts", question),
    ):
        benchmark = BenchmarkConfig("s", "rows.jsonl", format)
        read = benchmarks.read(benchmark, str(tmp_path), refused)
        context = f"Q: {asked} (A) True (B) False A: The answer is ("
        assert [(item.context, item.gold) for item in read] == [(context, 1)] * 2
