"""Tokenized questions: truncation of contexts, and questions that cannot be scored."""

import dataclasses

import pytest
from transformers import GPT2TokenizerFast

from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.tokenized import tokenize
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import open_vocabulary


class _Characters:
    """A vocabulary with one token per character, and `begin` before every text."""

    def __init__(self, begin=()):
        self.begin = begin

    def encode_batch(self, texts):
        return [[ord(character) for character in text] for text in texts]


def _question(context, *options):
    return Question(id="q1", subject="", context=context, options=options, gold=0)


def test_long_contexts_are_truncated_on_the_left_and_equally_for_all_options():
    questions = [
        _question("abcdef", "A", "B"),
        _question("abcdef", "A", "BCD"),
        _question("ab", "A"),
    ]
    tokenized, truncated = tokenize(questions, _Characters(), max_length=4)
    contexts = ["".join(map(chr, question.context)) for question in tokenized]
    # Of "BCD" the model reads two tokens; the last one is only predicted.
    assert contexts == ["cdef", "ef", "ab"]
    assert truncated == 2
    assert tokenized[1].options == ((65,), (66, 67, 68))


def test_the_ids_that_begin_every_text_survive_truncation():
    questions = [_question("abcdef", "A"), _question("ab", "A")]
    tokenized, truncated = tokenize(questions, _Characters((2,)), max_length=4)
    assert [question.context for question in tokenized] == [(2, *b"def"), (2, *b"ab")]
    assert truncated == 1


@pytest.mark.parametrize(("begin", "option", "needed"), [((), "ABCD", 4), ((2,), "ABC", 4)])
def test_an_option_that_leaves_no_room_is_an_error_with_the_length_that_suffices(
    begin, option, needed
):
    questions = [_question("abcdef", option)]
    message = f"config.max_length=3: too short for question q1.* raise it to {needed} or more"
    with pytest.raises(UserError, match=message):
        tokenize(questions, _Characters(begin), max_length=3)
    tokenize(questions, _Characters(begin), max_length=needed)


def test_an_option_or_context_without_tokens_is_an_error():
    with pytest.raises(UserError, match="question q1: the option '' has no tokens"):
        tokenize([_question("abc", "A", "")], _Characters(), max_length=9)
    with pytest.raises(UserError, match="question q1: its context '' is empty"):
        tokenize([_question("", "A")], _Characters(), max_length=9)
    tokenize([_question("", "A")], _Characters((2,)), max_length=9)


def test_a_question_may_leave_out_the_ids_that_begin_every_text():
    plain = dataclasses.replace(_question("abc", "A"), begin=False)
    (question,), truncated = tokenize([plain], _Characters((2,)), max_length=3)
    assert question.context == tuple(b"abc")
    assert truncated == 0


@pytest.mark.parametrize("format", ["creak", "ecqa", "strategyqa", "mmlu"])
def test_questions_in_authors_style_have_the_ids_of_opt_without_special_tokens(
    shared_data, opt_folder, format
):
    name = {"strategyqa": "strategy_qa", "mmlu": "mmlu_test"}.get(format, format)
    reference = GPT2TokenizerFast.from_pretrained(opt_folder)
    for style, begin in (("authors", ()), ("clean", (2,))):
        config = BenchmarkConfig("x", f"{name}.jsonl", format, limit=20, style=style)
        questions = benchmarks.read(config, str(shared_data / "eval"), RefusedRows(None))
        assert {question.begin for question in questions} == {style == "clean"}
        tokenized, _ = tokenize(questions, open_vocabulary(opt_folder), max_length=2048)
        contexts = [question.context for question in questions]
        expected = reference(contexts, add_special_tokens=False)["input_ids"]
        assert [ids.context for ids in tokenized] == [(*begin, *ids) for ids in expected]
        assert len(tokenized) == 20


@pytest.mark.parametrize(
    ("context", "option"), [("Q: Up? A:", " no"), ("Q: Up? A: ", "no"), ("It is un", "even things")]
)
def test_joint_tokens_are_those_of_lm_evaluation_harness(opt_folder, context, option):
    """Expected: `TemplateLM._encode_pair` of its version 0.4.13, written out."""
    reference = GPT2TokenizerFast.from_pretrained(opt_folder)
    stripped = context.rstrip()
    whole = reference(context + option, add_special_tokens=False)["input_ids"]
    expected = reference(stripped, add_special_tokens=False)["input_ids"]
    vocabulary = open_vocabulary(opt_folder)
    (question,), _ = tokenize([_question(context, option)], vocabulary, 99, tokenization="joint")
    assert question.context == (2, *expected)
    assert question.options == (tuple(whole[len(expected) :]),)


def test_a_space_at_the_end_of_a_context_belongs_to_the_option_only_in_joint_tokens(opt_folder):
    vocabulary = open_vocabulary(opt_folder)

    def spelled(tokenization):
        (question,), _ = tokenize(
            [_question("It is ", "so")], vocabulary, 99, tokenization=tokenization
        )
        return vocabulary.decode(question.context), vocabulary.decode(question.options[0])

    assert spelled("separate") == ("It is ", "so")
    assert spelled("joint") == ("It is", " so")


class _Pairs(_Characters):
    """A vocabulary in which "(A" is one token."""

    def encode_batch(self, texts):
        return super().encode_batch([text.replace("(A", "1") for text in texts])


def test_an_option_that_shares_a_token_with_its_context_is_refused_by_name():
    question = _question("is (", "A", "B")
    with pytest.raises(UserError, match="question q1: .*'A' has no token of its own; .*separate"):
        tokenize([question], _Pairs(), 99, tokenization="joint")
    (separate,), _ = tokenize([question], _Pairs(), 99)
    assert separate.options == ((65,), (66,))


def test_joint_tokens_of_many_questions_belong_to_their_questions():
    questions = [_question(f"{n}:", f" {n}", f" -{n}") for n in range(600)]
    joint, _ = tokenize(questions, _Characters(), 99, tokenization="joint")
    separate, _ = tokenize(questions, _Characters(), 99)
    assert joint == separate
