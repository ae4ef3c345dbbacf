"""Questions as batches of few shapes for a scorer.

A question whose options are single tokens is one row: its context, after which all options are
looked up. A question with longer options is one row with a shared prefix: the context without its
last token, and one suffix per option, which begins with that token. So the model runs the context
once, whatever the number of options.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from teacherlm_jax.evaluation.tokenized import TokenizedQuestion
from teacherlm_jax.models.buckets import half_step, power_of_two

_SHORTEST_BUCKET = 32
_SHORTEST_SUFFIX = 4
_FEWEST_OPTIONS = 8  # a few more lookups cost nothing, another compilation does


@dataclasses.dataclass(frozen=True)
class ScoreRow:
    """One row of a batch, and the tokens whose log-probabilities are wanted in it.

    Attributes:
        question: index of the question.
        options: indices of its options in this row.
        lengths: number of tokens of each of these options.
        prefix: tokens that all options share.
        suffixes: tokens of each option after the prefix; empty if the prefix is the whole row.
        places: (suffix, index in it) of each hidden state that predicts something; the suffix is 0
            if there are none.
        targets: tokens that are looked up after each of these states.
    """

    question: int
    options: tuple[int, ...]
    lengths: tuple[int, ...]
    prefix: tuple[int, ...]
    suffixes: tuple[tuple[int, ...], ...]
    places: tuple[tuple[int, int], ...]
    targets: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of tokens that the model reads."""
        return len(self.prefix) + sum(map(len, self.suffixes))

    def split(self, values: Iterable[Iterable[Any]]) -> list[list[Any]]:
        """Return the values of each option's tokens, given those of all targets of the row."""
        flat = itertools.chain.from_iterable(
            itertools.islice(row, len(wanted))
            for row, wanted in zip(values, self.targets, strict=False)
        )
        return [list(itertools.islice(flat, length)) for length in self.lengths]


@dataclasses.dataclass(frozen=True, order=True)
class BatchShape:
    """Shape of a bucket: tokens of a prefix, suffixes and their tokens, and targets per state."""

    prefix: int
    suffixes: int
    suffix: int
    targets: int

    @property
    def tokens(self) -> int:
        """Tokens of one row, padding included."""
        return self.prefix + self.suffixes * self.suffix


def score_rows(
    questions: Sequence[TokenizedQuestion], share_contexts: bool = True
) -> Iterator[ScoreRow]:
    """Yield the rows of all questions; without `share_contexts`, one for each option."""
    for index, question in enumerate(questions):
        context, options = question.context, question.options
        if not share_contexts:
            yield from _one_by_one(index, question)
        elif all(len(option) == 1 for option in options):
            targets = tuple(option[0] for option in options)
            numbers, lengths = tuple(range(len(options))), (1,) * len(options)
            yield ScoreRow(
                *(index, numbers, lengths, context, ()), ((0, len(context) - 1),), (targets,)
            )
        else:
            yield _shared(index, question)


def _one_by_one(index: int, question: TokenizedQuestion) -> Iterator[ScoreRow]:
    last = len(question.context) - 1
    for number, option in enumerate(question.options):
        places = tuple((0, last + step) for step in range(len(option)))
        targets = tuple((token,) for token in option)
        read = question.context + option[:-1]
        yield ScoreRow(index, (number,), (len(option),), read, (), places, targets)


def _shared(index: int, question: TokenizedQuestion) -> ScoreRow:
    options = question.options
    return ScoreRow(
        question=index,
        options=tuple(range(len(options))),
        lengths=tuple(map(len, options)),
        prefix=question.context[:-1],
        suffixes=tuple((question.context[-1], *option[:-1]) for option in options),
        places=tuple(
            (number, step) for number, option in enumerate(options) for step in range(len(option))
        ),
        targets=tuple((token,) for option in options for token in option),
    )


def batches(
    rows: Sequence[ScoreRow], batch_tokens: int, multiple: int
) -> Iterator[tuple[list[ScoreRow], BatchShape, tuple[int, int]]]:
    """Yield rows of similar length with their bucket, and the numbers of rows and states in it.

    The longest rows come first, so memory runs out in the first batch or not at all. The number of
    rows is a multiple of `multiple`, and a row and its padding have about `batch_tokens` tokens.
    """
    buckets: dict[BatchShape, list[ScoreRow]] = defaultdict(list)
    for row in rows:
        buckets[_shape(row)].append(row)
    for shape in sorted(buckets, reverse=True):
        bucket = sorted(buckets[shape], key=lambda row: -row.size)
        states = half_step(max(len(row.places) for row in bucket), 1)
        size = min(max(1, batch_tokens // shape.tokens), power_of_two(len(bucket)))
        size = max(1, size // multiple) * multiple
        for start in range(0, len(bucket), size):
            yield bucket[start : start + size], shape, (size, states)


def _shape(row: ScoreRow) -> BatchShape:
    longest = max(map(len, row.suffixes), default=0)
    return BatchShape(
        prefix=half_step(max(1, len(row.prefix)), _SHORTEST_BUCKET),
        suffixes=half_step(len(row.suffixes), 1) if row.suffixes else 0,
        suffix=power_of_two(longest, _SHORTEST_SUFFIX) if row.suffixes else 0,
        targets=power_of_two(len(row.targets[0]), _FEWEST_OPTIONS),
    )


def arrays(
    rows: Sequence[ScoreRow], shape: BatchShape, size: tuple[int, int], pad_id: int
) -> list[Int32[np.ndarray, "B ..."]]:
    """Return the arguments of a scorer's program for one batch: tokens, lengths, states, targets.

    With suffixes: prefixes [B T], their lengths [B 1], suffixes [B K R], their lengths [B K].
    Without: tokens [B T], lengths [B 1]. Then the indices of states [B S] and targets [B S O].
    """
    batch, states = size
    shared = shape.suffixes > 0
    prefixes = np.full((batch, shape.prefix), pad_id, np.int32)
    # A row of padding has a token, too: attention over no key is undefined.
    lengths = np.full((batch, 1), 0 if shared else 1, np.int32)
    suffixes = np.full((batch, shape.suffixes, shape.suffix), pad_id, np.int32)
    suffix_lengths = np.ones((batch, shape.suffixes), np.int32)
    positions = np.zeros((batch, states), np.int32)
    targets = np.zeros((batch, states, shape.targets), np.int32)
    for index, row in enumerate(rows):
        prefixes[index, : len(row.prefix)] = row.prefix
        lengths[index] = len(row.prefix)
        for number, suffix in enumerate(row.suffixes):
            suffixes[index, number, : len(suffix)] = suffix
            suffix_lengths[index, number] = len(suffix)
        count = len(row.places)
        positions[index, :count] = [part * shape.suffix + at for part, at in row.places]
        targets[index, :count, : len(row.targets[0])] = row.targets
    if shared:
        return [prefixes, lengths, suffixes, suffix_lengths, positions, targets]
    return [prefixes, lengths, positions, targets]
