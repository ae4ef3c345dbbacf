"""Chunks of a few hundred encoded texts, the unit that TensorFlow and other processes receive.

Handing texts to TensorFlow one by one would take longer than tokenizing them.
"""

import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Bool, Int32, Shaped

from teacherlm_jax.config import MixtureConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

SIZE = 256  # samples per chunk


@dataclasses.dataclass(frozen=True)
class Rendering:
    """Settings that turn samples into texts.

    Attributes:
        form: a key of `prompts.FORMS`.
        mixture: decides whose explanations are used, and which tokens are trained.
        subject_prefix: put a sentence with the subject before each question.
        seed: decides the order of explanations in the form "shuffle", for each sample.
    """

    form: str
    mixture: MixtureConfig
    subject_prefix: bool
    seed: int


class Chunk(NamedTuple):
    """The texts of `samples` samples in one form, with `tokens` tokens in total.

    Attributes:
        tokens: all texts, one after another, with their special tokens.
        loss_mask: True for trained tokens.
        lengths: number of tokens of each text.
        fields: how many of these come from each of `packing.FIELDS`.
        drops: byte strings: the reason why a sample gives no text (its length is then 0), or empty.
    """

    tokens: Int32[np.ndarray, " tokens"]
    loss_mask: Bool[np.ndarray, " tokens"]
    lengths: Int32[np.ndarray, " samples"]
    fields: Int32[np.ndarray, "samples fields"]
    drops: Shaped[np.ndarray, " samples"]


def chunked(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Yield the samples in lists of SIZE; the last one may be shorter."""
    rest = iter(samples)
    while chunk := list(itertools.islice(rest, SIZE)):
        yield chunk


def encode_chunk(samples: Sequence[Sample], rendering: Rendering, vocabulary: Vocabulary) -> Chunk:
    """Encode the texts of some samples."""
    texts: list[tuple[prompts.Piece, ...]] = []
    drops = []
    for sample in samples:
        text, drop = _text(sample, rendering)
        texts.append(text)
        drops.append(drop.encode())
    loss = rendering.mixture.loss
    encodings = iter(packing.encode_texts([text for text in texts if text], vocabulary, loss))
    empty = packing.Encoded((), (), (0,) * len(packing.FIELDS))
    encoded = [next(encodings) if text else empty for text in texts]
    chained = itertools.chain.from_iterable
    return Chunk(
        np.fromiter(chained(text.tokens for text in encoded), np.int32),
        np.fromiter(chained(text.loss_mask for text in encoded), bool),
        np.array([len(text.tokens) for text in encoded], np.int32),
        np.array([text.field_tokens for text in encoded], np.int32),
        np.array(drops),
    )


def _text(sample: Sample, rendering: Rendering) -> tuple[tuple[prompts.Piece, ...], str]:
    """Return a sample's text, or no text and the reason if an explanation is missing."""
    mixture = rendering.mixture
    try:
        text = prompts.pieces(
            sample,
            rendering.form,
            mixture.author,
            subject_prefix=rendering.subject_prefix,
            seed=rendering.seed,
        )
    except prompts.MissingExplanation as missing:
        return (), f"{missing} that passed its gates" if mixture.checked_only else str(missing)
    return text, ""


def save_chunk(path: epath.PathLike, chunk: Chunk) -> None:
    """Write a chunk atomically."""
    content = io.BytesIO()
    np.savez(content, **chunk._asdict())
    files.write_bytes(path, content.getvalue())


def load_chunk(path: epath.PathLike) -> Chunk:
    """Return a chunk that `save_chunk` wrote."""
    with np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False) as arrays:
        return Chunk(**arrays)
