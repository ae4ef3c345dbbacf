"""Questions as batches of few shapes for a scorer.

A question whose options are single tokens is one text: its context, after which all options are
looked up. Several such texts share a row, which leaves little padding. A question with longer
options is one row with a shared prefix: the context without its last token, and one suffix per
option, which begins with that token. So the model runs the context once, whatever the number of
options.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from teacherlm_jax.evaluation.row_packing import pack
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion
from teacherlm_jax.models.buckets import half_step, power_of_two

_SHORTEST_BUCKET = 32
_SHARED_ROW = 256  # tokens of a row that several texts share, unless one of them is longer
_SHORTEST_SUFFIX = 4
_FEWEST_OPTIONS = 8  # a few more lookups cost nothing, another compilation does
_FEWEST_STATES = 8  # of a row that texts share, for the same reason


@dataclasses.dataclass(frozen=True)
class ScoreRow:
    """One row of a batch or a part of it, and the tokens whose log-probabilities are wanted in it.

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

    @property
    def pairs(self) -> int:
        """Number of pairs of a query and a key that attention needs."""
        first = len(self.prefix)
        return sum(_pairs(len(suffix), first) for suffix in self.suffixes) + _pairs(first, 0)

    def split(self, values: Iterable[Iterable[Any]]) -> list[list[Any]]:
        """Return the values of each option's tokens, given those of all targets.

        From an iterator, no more are taken than those of this row.
        """
        flat = itertools.chain.from_iterable(
            itertools.islice(row, len(wanted))
            for wanted, row in zip(self.targets, values, strict=False)
        )
        return [list(itertools.islice(flat, length)) for length in self.lengths]


def _pairs(tokens: int, before: int) -> int:
    """Return the pairs of tokens that see `before` others, each other and themselves."""
    return tokens * before + tokens * (tokens + 1) // 2


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
) -> Iterator[tuple[list[tuple[ScoreRow, ...]], BatchShape, tuple[int, int]]]:
    """Yield the rows of each batch with its shape, and the numbers of rows and states in it.

    Texts without suffixes share rows. The longest rows come first, so memory runs out in the first
    batch or not at all. The number of rows is a multiple of `multiple`, and a batch has about
    `batch_tokens` tokens, padding included.
    """
    buckets: dict[BatchShape, list[ScoreRow]] = defaultdict(list)
    texts: dict[int, list[ScoreRow]] = defaultdict(list)
    for row in rows:
        if row.suffixes:
            buckets[_shape(row)].append(row)
        else:
            texts[_targets(row)].append(row)
    for targets, some in texts.items():
        yield from _shared_rows(some, targets, batch_tokens, multiple)
    for shape in sorted(buckets, reverse=True):
        bucket = sorted(buckets[shape], key=lambda row: -row.size)
        states = half_step(max(len(row.places) for row in bucket), 1)
        size = _rows(len(bucket), batch_tokens // shape.tokens, multiple)
        for start in range(0, len(bucket), size):
            yield [(row,) for row in bucket[start : start + size]], shape, (size, states)


def _shared_rows(
    texts: Sequence[ScoreRow], targets: int, batch_tokens: int, multiple: int
) -> Iterator[tuple[list[tuple[ScoreRow, ...]], BatchShape, tuple[int, int]]]:
    """Yield the batches of texts that share rows; shorter rows fill the last batch of longer ones.

    So every length has one shape of batches, and only the last batch has another.
    """
    lengths = [len(text.prefix) for text in texts]
    shortest = half_step(min(sum(lengths), _SHARED_ROW), _SHORTEST_BUCKET)
    packed = pack(lengths, shortest)
    rows = [tuple(texts[index] for index in members) for _, members in packed]
    most = max(sum(len(text.places) for text in row) for row in rows)
    states = half_step(most, _FEWEST_STATES)
    start = 0
    while start < len(rows):
        length = packed[start][0]
        size = _rows(len(rows) - start, batch_tokens // length, multiple)
        yield rows[start : start + size], BatchShape(length, 0, 0, targets), (size, states)
        start += size


def _rows(left: int, most: int, multiple: int) -> int:
    """Return the number of rows of the next batch: `left` rows remain, and it holds `most`."""
    size = min(max(1, most), power_of_two(left))
    return max(1, size // multiple) * multiple


def _shape(row: ScoreRow) -> BatchShape:
    longest = max(map(len, row.suffixes))
    return BatchShape(
        prefix=half_step(max(1, len(row.prefix)), _SHORTEST_BUCKET),
        suffixes=half_step(len(row.suffixes), 1),
        suffix=power_of_two(longest, _SHORTEST_SUFFIX),
        targets=_targets(row),
    )


def _targets(row: ScoreRow) -> int:
    return power_of_two(len(row.targets[0]), _FEWEST_OPTIONS)


def arrays(
    rows: Sequence[tuple[ScoreRow, ...]], shape: BatchShape, size: tuple[int, int], pad_id: int
) -> list[Int32[np.ndarray, "B ..."]]:
    """Return the arguments of a scorer's program for one batch.

    With suffixes: prefixes [B T], their lengths [B 1], suffixes [B K R], their lengths [B K].
    Without: tokens, segment ids and positions [B T]. Then the indices of states [B S] and targets
    [B S O].
    """
    batch, states = size
    indices = np.zeros((batch, states), np.int32)
    targets = np.zeros((batch, states, shape.targets), np.int32)
    inputs = (_after_prefix if shape.suffixes else _side_by_side)(rows, shape, batch, pad_id)
    for number, parts in enumerate(rows):
        start, count = 0, 0
        for part in parts:
            stop = count + len(part.places)
            places = [start + index * shape.suffix + at for index, at in part.places]
            indices[number, count:stop] = places
            targets[number, count:stop, : len(part.targets[0])] = part.targets
            start, count = start + len(part.prefix), stop
    return [*inputs, indices, targets]


def _after_prefix(
    rows: Sequence[tuple[ScoreRow, ...]], shape: BatchShape, batch: int, pad_id: int
) -> list[Int32[np.ndarray, "B ..."]]:
    prefixes = np.full((batch, shape.prefix), pad_id, np.int32)
    lengths = np.zeros((batch, 1), np.int32)
    suffixes = np.full((batch, shape.suffixes, shape.suffix), pad_id, np.int32)
    suffix_lengths = np.ones((batch, shape.suffixes), np.int32)
    for index, (row,) in enumerate(rows):
        prefixes[index, : len(row.prefix)] = row.prefix
        lengths[index] = len(row.prefix)
        for number, suffix in enumerate(row.suffixes):
            suffixes[index, number, : len(suffix)] = suffix
            suffix_lengths[index, number] = len(suffix)
    return [prefixes, lengths, suffixes, suffix_lengths]


def _side_by_side(
    rows: Sequence[tuple[ScoreRow, ...]], shape: BatchShape, batch: int, pad_id: int
) -> list[Int32[np.ndarray, "B T"]]:
    tokens = np.full((batch, shape.prefix), pad_id, np.int32)
    segment_ids, positions = np.zeros_like(tokens), np.zeros_like(tokens)
    segment_ids[:, 0] = 1  # in rows of padding, too: attention over no key is undefined
    for index, parts in enumerate(rows):
        start = 0
        for number, part in enumerate(parts, start=1):
            stop = start + len(part.prefix)
            tokens[index, start:stop] = part.prefix
            segment_ids[index, start:stop] = number
            positions[index, start:stop] = np.arange(stop - start)
            start = stop
    return [tokens, segment_ids, positions]
