"""Advice in messages of `evaluate`, followed."""

import csv
import dataclasses
import math
import re

import jax
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import (
    BenchmarkConfig,
    ColumnsConfig,
    EvaluateConfig,
    MeshConfig,
    fields,
)
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks, predictions
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.tokenized import tokenize
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.blank_model import save_blank

ROW = {"q": "6 * 7?", "a": "41", "b": "42", "right": "b"}
NAMED = ColumnsConfig(question="q", answer="right", answer_is="letter", options=("a", "b"))


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


def read(config, folder):
    return benchmarks.read(config, str(folder), RefusedRows(None))


def test_a_csv_without_named_options_is_read_after_naming_their_columns(tmp_path):
    with (tmp_path / "set.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ROW)
        writer.writeheader()
        writer.writerow(ROW)
    unnamed = dataclasses.replace(NAMED, options=(), answer_is="text")
    config = BenchmarkConfig("set", "set.csv", "columns", columns=unnamed)
    message = refusal(read, config, tmp_path)
    assert (
        "no options to rank; add them to the row, or name their columns in columns.opt" in message
    )
    (question,) = read(dataclasses.replace(config, columns=NAMED), tmp_path)
    assert question.gold == 1


def test_a_row_without_options_is_read_after_adding_them(tmp_path):
    row = {"id": "1", "question": "6 * 7?", "answer": "42"}
    files.write_jsonl(tmp_path / "set.jsonl", [row])
    config = BenchmarkConfig("set", "set.jsonl")
    assert "add them to the row" in refusal(read, config, tmp_path)
    files.write_jsonl(tmp_path / "set.jsonl", [row | {"options": ["41", "42"], "answer": "(B)"}])
    assert read(config, tmp_path)[0].gold == 1


def test_a_benchmark_is_read_at_a_path_that_exists(tmp_path):
    config = BenchmarkConfig("set", "st.jsonl")
    assert "st.jsonl: no file matches" in refusal(read, config, tmp_path)
    files.write_jsonl(
        tmp_path / "set.jsonl", [{"question": "Up?", "answer": "(A)", "options": ["y", "n"]}]
    )
    assert read(dataclasses.replace(config, path="set.jsonl"), tmp_path)


# Benchmarks of a config, the words of its message, and benchmarks that follow it.
CONFIGS = [
    ((), "name at least one BenchmarkConfig", ({"name": "a"},)),
    (({"name": "a"}, {"name": "a"}), "names must differ", ({"name": "a"}, {"name": "b"})),
    (({"name": "a$"},), "use letters, digits, _, - and .", ({"name": "a_-.1"},)),
    (({"name": "a", "format": "race"},), "expected one of 'sample',", ({"name": "a"},)),
]


@pytest.mark.parametrize(("wrong", "words", "right"), CONFIGS)
def test_benchmarks_as_a_message_describes_them_are_accepted(wrong, words, right):
    def check(every):
        every = tuple(BenchmarkConfig(**{"path": "x.jsonl", **keys}) for keys in every)
        fields.check(EvaluateConfig("o", model="m", benchmarks=every))

    message = refusal(check, wrong)
    assert words in message, message
    check(right)


class Characters:
    """A vocabulary with one token per character."""

    begin: tuple[int, ...] = ()

    def encode_batch(self, texts):
        return [[ord(character) for character in text] for text in texts]


def question(context, *options):
    return Question(id="q1", context=context, options=options)


def tokens(questions, max_length=9, positions=0):
    return tokenize(questions, Characters(), max_length, positions)


# Questions, limits, the words of the message, and questions that follow it.
QUESTIONS = [
    ([question("ab", "A", "")], {}, "remove the option, or the row", [question("ab", "A")]),
    ([question("ab", "A", ""), question("c", "A")], {}, "or the row", [question("c", "A")]),
    ([question("", "A"), question("c", "A")], {}, "empty; remove its row", [question("c", "A")]),
    (
        [question("ab", "A", "ABCD")],
        {"positions": 3},
        "learned positions for only 3 tokens; remove the option, or the row",
        [question("ab", "A")],
    ),
]


@pytest.mark.parametrize(("wrong", "limits", "words", "right"), QUESTIONS)
def test_questions_are_scored_without_what_a_message_says_to_remove(wrong, limits, words, right):
    message = refusal(lambda: tokens(wrong, **limits))
    assert words in message, message
    assert tokens(right, **limits)[0]


@pytest.mark.parametrize("positions", [0, 4])
def test_an_option_fits_with_the_max_length_that_a_message_names(positions):
    message = refusal(tokens, [question("ab", "ABCD")], 3, positions)
    length = re.search(r"^config\.max_length=3: .* raise it to (\d+) or more$", message)[1]
    assert tokens([question("ab", "ABCD")], int(length), positions)[0]


def test_an_earlier_checkpoint_can_be_evaluated_when_the_newest_gives_nan(tmp_path):
    vocabulary = train_sentencepiece(["one two three"] * 9, tmp_path / "v", size=400, seed=0)
    run = save_blank(tmp_path / "run", vocabulary, {7: 0.5, 8: math.nan})
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    questions = [question("one", " two", " three")]

    class SumOfParameters:
        """A scorer that is cheap to compile; it gives NaN as a model with NaN does."""

        def __init__(self, loaded):
            arrays = jax.tree.leaves(nnx.to_pure_dict(nnx.state(loaded.model)))
            self.score = lambda encoded, **_: [(sum(map(np.sum, arrays)), 0.0)] * len(encoded)

    def score(path):
        loaded = any_model.load(path, mesh)
        return predictions.score(loaded, questions, scorer=SumOfParameters(loaded))[0]

    message = refusal(score, run)
    form = re.search(r"evaluate an earlier checkpoint \((\S+)\), or copy the model again$", message)
    assert score(form[1].replace("RUN", str(run)).replace("STEP", "7"))[0].choice in (0, 1)
