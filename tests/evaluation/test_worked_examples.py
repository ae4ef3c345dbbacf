"""Few-shot prompts of benchmarks."""

import json
import logging

import pytest

from teacherlm_jax.config import BenchmarkConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


def row(question, answer, subject="law", options=("no", "yes")):
    return {"question": question, "choices": list(options), "answer": answer, "subject": subject}


DEV = [row("One?", 0), row("Two?", 1, "virology"), row("Three?", 1), row("Four?", 0, "virology")]
TEST = [row("Up?", 1), row("Down?", 0, "virology")]
SENTENCE = "The following are multiple choice questions (with answers) about"


@pytest.fixture
def folder(tmp_path):
    files.write_jsonl(tmp_path / "dev.jsonl", DEV)
    files.write_jsonl(tmp_path / "test.jsonl", TEST)
    return tmp_path


def benchmark(**keys):
    settings = {"format": "mmlu", "shots_path": "dev.jsonl", "shots": 2, **keys}
    config = BenchmarkConfig("toys", "test.jsonl", **settings)
    fields.check(config)
    return config


def contexts(folder, log=None, **keys):
    read = benchmarks.read(benchmark(**keys), str(folder), RefusedRows(None), log)
    return [question.context for question in read]


def test_examples_of_the_subject_come_before_the_question_with_their_answers(folder):
    law, virology = contexts(folder)
    assert law == (
        "Q: One? (A) no (B) yes A: The answer is (A).\n\n"
        "Q: Three? (A) no (B) yes A: The answer is (B).\n\n"
        "Q: Up? (A) no (B) yes A: The answer is ("
    )
    assert virology == (
        "Q: Two? (A) no (B) yes A: The answer is (B).\n\n"
        "Q: Four? (A) no (B) yes A: The answer is (A).\n\n"
        "Q: Down? (A) no (B) yes A: The answer is ("
    )


def test_the_subject_is_named_once_before_the_examples(folder):
    for keys in ({"subject_prefix": True}, {"style": "authors"}):
        law, _ = contexts(folder, shots=1, **keys)
        assert law == (
            f"{SENTENCE} law. Q: One? (A) no (B) yes A: The answer is (A).\n\n"
            "Q: Up? (A) no (B) yes A: The answer is ("
        )


def test_examples_of_texts_end_in_the_text_of_the_answer(folder):
    assert contexts(folder, score="texts")[0] == "Q: One? A: no\n\nQ: Three? A: yes\n\nQ: Up? A:"


def test_without_shots_the_prompts_are_as_before(folder):
    assert contexts(folder, shots=0)[0] == "Q: Up? (A) no (B) yes A: The answer is ("
    config = BenchmarkConfig("toys", "test.jsonl", "mmlu")
    assert contexts(folder, shots=0) == [
        question.context for question in benchmarks.read(config, str(folder), RefusedRows(None))
    ]


def test_a_subject_with_too_few_examples_is_refused_by_name(folder):
    with pytest.raises(
        UserError, match="'toys', dev.jsonl: 2 worked .* subject 'law' .*lower shot"
    ):
        contexts(folder, shots=3)
    files.write_jsonl(folder / "test.jsonl", [*TEST, row("Left?", 0, "human_aging")])
    with pytest.raises(UserError, match="0 worked examples of the subject 'human aging'"):
        contexts(folder, shots=1)


def test_a_question_is_never_its_own_example(folder, caplog):
    caplog.set_level(logging.WARNING)
    same = row("  three ", 0, options=("yes", "no"))
    files.write_jsonl(folder / "test.jsonl", [same, row("Three?", 1, options=("a", "b"))])
    first, second = contexts(folder, shots=1, log=logging.getLogger("test"))
    assert first.startswith("Q: One?") and second.startswith("Q: One?")
    assert not caplog.messages
    files.write_jsonl(folder / "test.jsonl", [row("one", 0)])
    assert contexts(folder, shots=1, log=logging.getLogger("test"))[0].startswith("Q: Three?")
    assert caplog.messages == [
        "toys: questions that are also worked examples: 1; each is left out of its own prompt"
    ]
    with pytest.raises(UserError, match="1 worked examples .* expected 2"):
        contexts(folder, shots=2)


def test_shots_without_a_file_are_refused(folder):
    with pytest.raises(UserError, match="shots: 2, but shots_path is empty; set it to the files"):
        benchmark(shots_path="")
    fields.check(benchmark(shots_path="", shots_split="validation"))


def test_rows_that_cannot_be_examples_are_reported(folder, caplog):
    caplog.set_level(logging.INFO)
    files.write_jsonl(folder / "dev.jsonl", [*DEV, {"question": "Why?"}])
    contexts(folder, log=logging.getLogger("test"))
    assert any("toys, worked examples" in message for message in caplog.messages)


def test_the_digest_depends_on_the_file_of_examples_only_with_shots(folder):
    before = benchmarks.digest(benchmark(), str(folder))
    plain = benchmarks.digest(benchmark(shots=0), str(folder))
    assert before != plain == files.file_digest(folder / "test.jsonl")
    files.write_jsonl(folder / "dev.jsonl", DEV[::-1])
    assert benchmarks.digest(benchmark(), str(folder)) != before
    assert benchmarks.digest(benchmark(shots=0), str(folder)) == plain


@pytest.mark.parametrize("shots", [1, 5])
def test_five_shots_of_mmlu_are_the_first_development_rows_of_each_subject(shared_data, shots):
    config = BenchmarkConfig(
        "mmlu", "mmlu_test.jsonl", "mmlu", shots=shots, shots_path="mmlu_dev.jsonl", limit=800
    )
    questions = benchmarks.read(config, str(shared_data / "eval"), RefusedRows(None))
    lines = (shared_data / "eval" / "mmlu_dev.jsonl").read_text().splitlines()
    dev = [json.loads(line) for line in lines]
    for question in questions:
        of_subject = [r for r in dev if r["subject"].replace("_", " ") == question.subject]
        *examples, last = question.context.split("\n\n")
        assert len(examples) == shots and last.endswith("A: The answer is (")
        for example, expected in zip(examples, of_subject, strict=False):
            assert example.endswith(f"A: The answer is ({expected['answer']}).")
            assert expected["choices"][0].strip()[:5] in example
