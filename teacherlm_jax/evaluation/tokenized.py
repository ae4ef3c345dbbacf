"""Questions as token ids, truncated to what a model can read."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NoReturn, Protocol

from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.question import Question

_JOINT_BATCH = 256  # questions; the ids of a context with each option are held at once

# Ids of a question's context, and of each of its options.
_Ids = tuple[Sequence[int], tuple[tuple[int, ...], ...]]


class Tokenizer(Protocol):
    """The part of a `Vocabulary` that tokenizing needs."""

    begin: tuple[int, ...]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""


@dataclasses.dataclass(frozen=True)
class TokenizedQuestion:
    """Token ids of a question's context and of each of its options."""

    context: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


def tokenize(
    questions: Sequence[Question],
    vocabulary: Tokenizer,
    max_length: int,
    positions: int = 0,
    key: str = "config.max_length",
    tokenization: str = "separate",
) -> tuple[list[TokenizedQuestion], int]:
    """Tokenize questions so that the model reads at most `max_length` tokens per option.

    The model reads the vocabulary's `begin` ids (unless a question leaves them out), the context,
    and all tokens of an option but the last. A context that is too long is truncated on the left,
    and equally for all options of its question, so that they are compared on the same context.

    Args:
        questions: questions with their options.
        vocabulary: the model's vocabulary.
        max_length: longest context with its option, in tokens.
        positions: the model's learned positions, which limit `max_length`, too; 0: any number.
        key: key of `max_length`, for messages.
        tokenization: "separate" encodes contexts and options by themselves; "joint" encodes each
            context with each option, and the option is what follows the ids of the context.

    Returns:
        The tokenized questions, and the number of contexts that were truncated.

    Raises:
        UserError: an option has no tokens or leaves no room for the context, or a context has no
            tokens.
    """
    encoded = (_joint if tokenization == "joint" else _separate)(questions, vocabulary)
    tokenized, truncated = [], 0
    for question, (context, options) in zip(questions, encoded, strict=True):
        begin = vocabulary.begin if question.begin else ()
        room = _room(question, options, min(max_length, positions or max_length), len(begin))
        if room < 1:
            _refuse_long_option(question, options, len(begin), max_length, positions, key)
        truncated += len(context) > room
        read = (*begin, *context[-room:])
        if not read:
            raise UserError(
                f"question {question.id}: its context {question.context!r} is empty; remove its row"
            )
        tokenized.append(TokenizedQuestion(read, options))
    return tokenized, truncated


def _separate(questions: Sequence[Question], vocabulary: Tokenizer) -> Iterator[_Ids]:
    contexts = vocabulary.encode_batch([question.context for question in questions])
    texts = list(dict.fromkeys(option for question in questions for option in question.options))
    ids = dict(zip(texts, map(tuple, vocabulary.encode_batch(texts)), strict=True))
    for question, context in zip(questions, contexts, strict=True):
        yield context, tuple(ids[option] for option in question.options)


def _joint(questions: Sequence[Question], vocabulary: Tokenizer) -> Iterator[_Ids]:
    """Yield ids as lm-evaluation-harness computes them (`TemplateLM._encode_pair`).

    White space at the end of the context belongs to the option.
    """
    for start in range(0, len(questions), _JOINT_BATCH):
        some = questions[start : start + _JOINT_BATCH]
        contexts = vocabulary.encode_batch([question.context.rstrip() for question in some])
        texts = [question.context + option for question in some for option in question.options]
        wholes = iter(vocabulary.encode_batch(texts))
        for question, context in zip(some, contexts, strict=True):
            options = tuple(tuple(next(wholes)[len(context) :]) for _ in question.options)
            for text, option in zip(question.options, options, strict=True):
                if text and not option:
                    raise UserError(
                        f"question {question.id}: tokenized with its context, the option {text!r} "
                        "has no token of its own; set tokenization='separate'"
                    )
            yield context, options


def _room(question: Question, options: Sequence[Sequence[int]], max_length: int, begin: int) -> int:
    """Return the number of tokens left for the context next to `begin` ids and any option."""
    for text, option in zip(question.options, options, strict=True):
        if not option:
            raise UserError(
                f"question {question.id}: the option {text!r} has no tokens to score; remove the "
                "option, or the row"
            )
    return max_length - begin - max(map(len, options)) + 1


def _refuse_long_option(
    question: Question,
    options: Sequence[Sequence[int]],
    begin: int,
    max_length: int,
    positions: int,
    key: str,
) -> NoReturn:
    longest = max(map(len, options))
    needed = begin + longest
    if 0 < positions < needed:
        raise UserError(
            f"question {question.id}: its longest option has {longest} tokens, but the model has "
            f"learned positions for only {positions} tokens; remove the option, or the row"
        )
    raise UserError(
        f"{key}={max_length}: too short for question {question.id}, whose longest option has "
        f"{longest} tokens; raise it to {needed} or more"
    )
