"""Batches for `benchmarks/train.py`: the same texts packed, padded, and split into equal rows.

The texts are those of `benchmarks/data.py`. Their SentencePiece ids are spread over BLOOM's
embedding table, as the ids of English texts are in a vocabulary for 46 languages.
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
    """Return chains of thought in random order with a full loss mask.

    `folder` receives the vocabulary; texts of more than `longest` tokens are left out.
    """
    authors, samples = zip(*data.samples(), strict=True)
    pieces = [prompts.pieces(sample, "C", authors[0]) for sample in samples]
    random.Random(0).shuffle(pieces)
    joined = ("".join(piece.text for piece in text) for text in pieces)
    vocabulary = train_sentencepiece(joined, folder, PIECES, seed=0)
    spacing = vocab_size // PIECES
    return [
        Encoded(np.array(text.tokens, np.int32) * spacing, np.array(text.loss_mask))
        for text in packing.encode_texts(pieces, vocabulary, "text")
        if len(text.tokens) <= longest
    ]


def packed(texts: Sequence[Encoded], rows: int, length: int) -> list[Batch]:
    """Return batches of `rows` packed rows of `length` tokens, in random order."""
    packed_rows = list(packing.pack(texts, length))
    random.Random(0).shuffle(packed_rows)
    return [_stacked(batch) for batch in _batches(packed_rows, rows)]


def padded(texts: Sequence[Encoded], rows: int) -> list[Batch]:
    """Return batches of `rows` texts, one per row, padded to the longest of each batch."""
    return [one_per_row(batch) for batch in _batches(texts, rows)]


def equal(texts: Sequence[Encoded], rows: int, length: int) -> list[Batch]:
    """Return batches of `rows` rows of `length` tokens: the texts concatenated, then split."""
    tokens = np.concatenate([text.tokens for text in texts])
    split = tokens[: len(tokens) // length * length].reshape(-1, length)
    return padded([Encoded(row, np.ones(length, bool)) for row in split], rows)


def one_per_row(texts: Sequence[Encoded]) -> Batch:
    """Return a batch of texts, one per row, padded to the longest."""
    longest = max(len(text.tokens) for text in texts)
    return _stacked([next(packing.pack([text], longest)) for text in texts])


def texts_of(batch: Batch) -> Iterator[Encoded]:
    """Yield the texts of a batch of packed rows."""
    for tokens, segments, masks in zip(
        batch["tokens"], batch["segment_ids"], batch["loss_mask"], strict=True
    ):
        for segment in range(1, segments.max() + 1):
            yield Encoded(tokens[segments == segment], masks[segments == segment])


def filled(batches: Sequence[Batch]) -> float:
    """Return the share of tokens that are not padding."""
    used = sum(np.count_nonzero(batch["segment_ids"]) for batch in batches)
    return used / sum(batch["tokens"].size for batch in batches)


def _batches(items: Sequence, size: int) -> Iterator[Sequence]:
    for start in range(0, len(items) - size + 1, size):
        yield items[start : start + size]


def _stacked(rows: Sequence[PackedRow]) -> Batch:
    return {name: np.stack([getattr(row, name) for row in rows]) for name in ARRAYS}
