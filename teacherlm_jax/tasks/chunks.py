"""Encoded texts, some hundreds at once: how they go to TensorFlow, and from one process to another.

One by one, the way between Python and TensorFlow would take longer than the tokenising.
"""

import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from teacherlm_jax.config import MixtureConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

SIZE = 256  # samples


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How samples become texts.

    Attributes:
        form: a key of `prompts.FORMS`.
        mixture: tells whose explanations, and what bears loss.
        subject_prefix: whether subjects are named before questions.
        seed: of orders drawn for each sample.
    """

    form: str
    mixture: MixtureConfig
    subject_prefix: bool
    seed: int


class Chunk(NamedTuple):
    """The texts of N samples in one form, with T tokens in all; F are `packing.FIELDS`.

    Attributes:
        tokens: of all texts, one after another, with what begins and ends each.
        loss_mask: which of them bear loss.
        lengths: tokens of each text.
        fields: of these, how many come from each field.
        drops: why a sample makes no text (then its length is 0), empty where it makes one.
    """

    tokens: Int32[np.ndarray, " T"]
    loss_mask: Bool[np.ndarray, " T"]
    lengths: Int32[np.ndarray, " N"]
    fields: Int32[np.ndarray, "N F"]
    drops: np.ndarray  # N byte strings


def chunked(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Yields the samples in lists of SIZE, the last one shorter."""
    rest = iter(samples)
    while chunk := list(itertools.islice(rest, SIZE)):
        yield chunk


def encode_chunk(samples: Sequence[Sample], rendering: Rendering, vocabulary: Vocabulary) -> Chunk:
    """The texts of some samples."""
    texts: list[tuple[prompts.Piece, ...]] = []
    drops = []
    for sample in samples:
        text, drop = _text(sample, rendering)
        texts.append(text)
        drops.append(drop.encode())
    loss = rendering.mixture.loss
    made = iter(packing.encode_texts([text for text in texts if text], vocabulary, loss))
    nothing = packing.Encoded((), (), (0,) * len(packing.FIELDS))
    encoded = [next(made) if text else nothing for text in texts]
    chained = itertools.chain.from_iterable
    return Chunk(
        np.fromiter(chained(text.tokens for text in encoded), np.int32),
        np.fromiter(chained(text.loss_mask for text in encoded), bool),
        np.array([len(text.tokens) for text in encoded], np.int32),
        np.array([text.field_tokens for text in encoded], np.int32),
        np.array(drops),
    )


def _text(sample: Sample, rendering: Rendering) -> tuple[tuple[prompts.Piece, ...], str]:
    """A sample's text; or none and why, where it lacks an explanation that the form needs."""
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


def save_chunk(path: Path, chunk: Chunk) -> None:
    """Writes a chunk in one step."""
    content = io.BytesIO()
    np.savez(content, **chunk._asdict())
    files.write_bytes(path, content.getvalue())


def load_chunk(path: Path) -> Chunk:
    """The chunk that `save_chunk` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Chunk(**arrays)
