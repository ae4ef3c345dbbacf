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
_BYTES_PER_TOKEN = 4  # of English text, about


@dataclasses.dataclass(frozen=True, eq=False)
class ExplanationPrompt:
    """The prompt for one explanation.

    Attributes:
        sample: the sample to explain.
        kind: kind of the explanation, one of `data.sample.KINDS`.
        text: the prompt.
        tokens: its ids, with those that begin every text of the vocabulary; none if there is no
            vocabulary.
        shared: number of leading tokens that the prompts for all kinds have in common.
    """

    sample: Sample
    kind: str
    text: str
    tokens: Int32[np.ndarray, " T"]
    shared: int = 0

    @property
    def length(self) -> int:
        """Number of tokens; an estimate if there is no vocabulary."""
        return len(self.tokens) or estimated_tokens(self.text)

    @property
    def id(self) -> str:
        """Name of the explanation within a job, such as "cot/creak-1"."""
        return f"{self.kind}/{self.sample.id}"


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: one per four bytes."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def prompt_digest(sample: Sample, kind: str, subject_prefix: bool) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a prompt's text.

    The text is digested piece by piece, as it is tokenized, so equal digests mean equal tokens in
    the same vocabulary.
    """
    pieces = prompts.explanation_pieces(sample, kind, subject_prefix)
    texts = json.dumps([piece.text for piece in pieces])
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def encode_prompts(
    samples: Iterable[Sample],
    kinds: Sequence[str],
    vocabulary: Vocabulary | None,
    subject_prefix: bool,
) -> Iterator[list[ExplanationPrompt]]:
    """Yield the prompts of each sample, one per kind; without a vocabulary they have no tokens.

    The tokenizer is called once per 1,024 samples. Every piece is tokenized by itself, as in
    training.
    """
    remaining = iter(samples)
    while batch := list(itertools.islice(remaining, _BATCH)):
        pieces = [
            [prompts.explanation_pieces(sample, kind, subject_prefix) for kind in kinds]
            for sample in batch
        ]
        every = itertools.chain.from_iterable(pieces)
        ids = packing.encode_distinct(every, vocabulary) if vocabulary is not None else None
        for sample, own in zip(batch, pieces, strict=True):
            yield [
                _prompt(sample, kind, prompt, ids, vocabulary)
                for kind, prompt in zip(kinds, own, strict=True)
            ]


def _prompt(
    sample: Sample,
    kind: str,
    pieces: Sequence[prompts.Piece],
    ids: dict[str, list[int]] | None,
    vocabulary: Vocabulary | None,
) -> ExplanationPrompt:
    """Return one prompt; its last piece is the trigger sentence of the kind."""
    text = "".join(piece.text for piece in pieces)
    if vocabulary is None or ids is None:
        return ExplanationPrompt(sample, kind, text, np.zeros(0, np.int32))
    parts = (vocabulary.begin, *(ids[piece.text] for piece in pieces))
    tokens = np.fromiter(itertools.chain.from_iterable(parts), np.int32)
    return ExplanationPrompt(sample, kind, text, tokens, len(tokens) - len(parts[-1]))
