"""Prompts of a teacher: their tokens, and digests that need no tokenizer."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Int32

from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_BATCH = 1024  # samples per call of the tokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class ExplanationPrompt:
    """The prompt for one explanation.

    Attributes:
        sample: the sample to explain.
        kind: kind of the explanation, one of `data.sample.KINDS`.
        tokens: ids, with those that begin every text of the vocabulary.
        shared: number of leading tokens that the prompts for all kinds have in common.
    """

    sample: Sample
    kind: str
    tokens: Int32[np.ndarray, " T"]
    shared: int = 0

    @property
    def id(self) -> str:
        """Name of the explanation within a job, such as "cot/creak-1"."""
        return f"{self.kind}/{self.sample.id}"


def prompt_digest(sample: Sample, kind: str, subject_prefix: bool) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a prompt's text.

    The text is digested piece by piece, as it is tokenized, so equal digests mean equal tokens in
    the same vocabulary.
    """
    pieces = prompts.explanation_pieces(sample, kind, subject_prefix)
    texts = json.dumps([piece.text for piece in pieces])
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def encode_prompts(
    samples: Iterable[Sample], kinds: Sequence[str], vocabulary: Vocabulary, subject_prefix: bool
) -> Iterator[list[ExplanationPrompt]]:
    """Yield the prompts of each sample, one per kind.

    The tokenizer is called once per 1,024 samples. Every piece is tokenized by itself, as in
    training.
    """
    remaining = iter(samples)
    while batch := list(itertools.islice(remaining, _BATCH)):
        pieces = [
            [prompts.explanation_pieces(sample, kind, subject_prefix) for kind in kinds]
            for sample in batch
        ]
        ids = packing.encode_distinct(itertools.chain.from_iterable(pieces), vocabulary)
        for sample, own in zip(batch, pieces, strict=True):
            yield [
                _prompt(sample, kind, prompt, ids, vocabulary)
                for kind, prompt in zip(kinds, own, strict=True)
            ]


def _prompt(
    sample: Sample,
    kind: str,
    pieces: Sequence[prompts.Piece],
    ids: dict[str, list[int]],
    vocabulary: Vocabulary,
) -> ExplanationPrompt:
    """Return one prompt; its last piece is the trigger sentence of the kind."""
    parts = (vocabulary.begin, *(ids[piece.text] for piece in pieces))
    tokens = np.fromiter(itertools.chain.from_iterable(parts), np.int32)
    return ExplanationPrompt(sample, kind, tokens, len(tokens) - len(parts[-1]))
