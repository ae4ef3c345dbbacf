"""The vocabulary of a preparation: opened from its folder, or trained there on the sources."""

import dataclasses
from collections.abc import Iterable, Iterator

from teacherlm_jax.config import PrepareConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import folder_lock
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import (
    Vocabulary,
    folder_content,
    holds_vocabulary,
    open_vocabulary,
    train_sentencepiece,
)

_LOCK = ".vocabulary.lock"  # the folder may be that of a run, which has a lock of its own


def before_survey(config: PrepareConfig, run: Run) -> Vocabulary | None:
    """Return the vocabulary; None if it can be trained after the survey, on the spooled samples.

    A source with `max_tokens` cannot be surveyed without a vocabulary, so one is then trained
    first, in a pass of its own over the sources.

    Raises UserError if there is none and `config.vocabulary.size` asks for none, and if its texts
    have no room in `config.max_tokens`.
    """
    folder = config.vocabulary.path
    if holds_vocabulary(folder):
        return _opened(config, run)
    if not config.vocabulary.size:
        raise UserError(
            f"config.vocabulary.path: no vocabulary in {folder!r}, which contains "
            f"{folder_content(folder)}; name a folder with a vocabulary, or train one there with "
            "config.vocabulary.size=8000"
        )
    if any(source.max_tokens for source in (*config.sources, *config.evaluation)):
        return train(config, unsurveyed(config), run)
    return None


def train(config: PrepareConfig, samples: Iterable[Sample], run: Run) -> Vocabulary:
    """Train the vocabulary in `config.vocabulary.path` on every text of `samples`.

    If another preparation is training it there, wait for it and open that one.
    """
    folder, size = config.vocabulary.path, config.vocabulary.size
    lock = folder_lock.acquire_when_free(StoragePath(folder) / _LOCK, run.log.info, run.log.warning)
    try:
        if holds_vocabulary(folder):
            return _opened(config, run)
        run.log.info("training a vocabulary of at most %d pieces", size)
        texts = (text for sample in samples for text in _texts(sample))
        vocabulary = train_sentencepiece(texts, folder, size, config.seed)
        run.log.info("vocabulary %s: %d pieces, newly trained", folder, vocabulary.size)
    finally:
        lock.release(remove=True)
    return _checked(vocabulary, config)


def _opened(config: PrepareConfig, run: Run) -> Vocabulary:
    folder = config.vocabulary.path
    vocabulary = open_vocabulary(folder)
    run.log.info("vocabulary %s: %s, %d pieces", folder, vocabulary.kind, vocabulary.size)
    return _checked(vocabulary, config)


def unsurveyed(config: PrepareConfig) -> Iterator[Sample]:
    """Yield the samples of all sources, of any length, without a survey.

    Rows that cannot be used are skipped here; the survey records them.
    """
    for source in config.sources:
        of_any_length = dataclasses.replace(source, max_tokens=0)
        reading = SourceReading(of_any_length, config.root, config.seed)
        for _, sample in reading.first(RefusedRows(None)):
            yield sample


def _texts(sample: Sample) -> Iterator[str]:
    """Yield each stretch of text that any form takes from a sample, once."""
    pieces = {
        piece.text: None
        for kind in KINDS
        for piece in prompts.explanation_pieces(sample, kind, subject_prefix=True)
    }
    yield from pieces
    for by_author in sample.explanations.values():
        for text in by_author.values():
            if text.strip():
                yield f" {text.strip()}"


def _checked(vocabulary: Vocabulary, config: PrepareConfig) -> Vocabulary:
    key = "max_tokens" if config.max_tokens else "length"
    longest, begin = getattr(config, key), len(vocabulary.begin)
    if longest <= begin:
        raise UserError(
            f"config.{key}={longest}: leaves no room for text, because every text of this "
            f"vocabulary begins with {begin} special tokens; raise config.{key}"
        )
    return vocabulary
