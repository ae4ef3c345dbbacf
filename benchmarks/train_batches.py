"""Batches for `benchmarks/train.py`: the same texts packed, padded, and cut into equal rows.

Texts are those of `benchmarks/data.py`. Their SentencePiece ids lie spread over BLOOM's table, as
ids of a vocabulary for 46 languages do where all texts are English.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.trainers import ARRAYS, Batch
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.packing import Encoded, PackedRow
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

PIECES = 8000


def texts(folder: Path, longest: int, vocab_size: int) -> list[Encoded]:
    """Chains of thought in random order, with a full loss mask; `folder` is to work in."""
    authors, found = zip(*data.samples(), strict=True)
    pieces = [prompts.pieces(sample, "C", authors[0]) for sample in found]
    random.Random(0).shuffle(pieces)
    spoken = ("".join(piece.text for piece in text) for text in pieces)
    vocabulary = train_sentencepiece(spoken, folder, PIECES, seed=0)
    apart = vocab_size // PIECES
    return [
        Encoded(np.array(text.tokens, np.int32) * apart, np.array(text.loss_mask))
        for text in packing.encode_texts(pieces, vocabulary, "text")
        if len(text.tokens) <= longest
    ]


def packed(texts: Sequence[Encoded], rows: int, length: int) -> list[Batch]:
    """Batches of `rows` packed rows of `length` tokens, in random order."""
    found = list(packing.pack(texts, length))
    random.Random(0).shuffle(found)
    return [_stacked(some) for some in _in_tuples(found, rows)]


def padded(texts: Sequence[Encoded], rows: int) -> list[Batch]:
    """Batches of `rows` texts, one a row, padded to the longest of each batch."""
    return [one_a_row(some) for some in _in_tuples(texts, rows)]


def equal(texts: Sequence[Encoded], rows: int, length: int) -> list[Batch]:
    """Batches of `rows` rows of `length` tokens, each row one text: the texts joined, then cut."""
    tokens = np.concatenate([text.tokens for text in texts])
    cut = tokens[: len(tokens) // length * length].reshape(-1, length)
    return padded([Encoded(row, np.ones(length, bool)) for row in cut], rows)


def one_a_row(texts: Sequence[Encoded]) -> Batch:
    """The texts, one a row, padded to the longest."""
    longest = max(len(text.tokens) for text in texts)
    return _stacked([next(packing.pack([text], longest)) for text in texts])


def texts_of(batch: Batch) -> Iterator[Encoded]:
    """Yields the texts of a batch of packed rows."""
    for tokens, segments, masks in zip(
        batch["tokens"], batch["segment_ids"], batch["loss_mask"], strict=True
    ):
        for segment in range(1, segments.max() + 1):
            yield Encoded(tokens[segments == segment], masks[segments == segment])


def filled(batches: Sequence[Batch]) -> float:
    """The share of tokens that are not padding."""
    used = sum(np.count_nonzero(batch["segment_ids"]) for batch in batches)
    return used / sum(batch["tokens"].size for batch in batches)


def _in_tuples(items: Sequence, size: int) -> Iterator[Sequence]:
    for start in range(0, len(items) - size + 1, size):
        yield items[start : start + size]


def _stacked(rows: Sequence[PackedRow]) -> Batch:
    return {name: np.stack([getattr(row, name) for row in rows]) for name in ARRAYS}
