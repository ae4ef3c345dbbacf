"""Inputs of a report on data: samples or prepared mixtures, and their vocabulary."""

import glob
import re
from collections.abc import Iterator

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import hub
from teacherlm_jax.runs import layout
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary, holds_vocabulary, open_vocabulary

_JSONL = "*.jsonl"
_NUMBERED = re.compile(r"-\d+-of-\d+$")  # ends the names of the shards of one dataset


def mixtures(path: str) -> list[epath.Path]:
    """Return the folders of prepared mixtures: the path itself, or those in a run of `prepare`."""
    if prepared.is_prepared(path):
        return [StoragePath(path)]
    if not StoragePath(path).is_dir():
        return []
    inside = (folder for folder in StoragePath(path).iterdir() if not folder.name.startswith("."))
    return sorted(folder for folder in inside if prepared.is_prepared(folder))


def require_digest(path: str, data: Prepared) -> None:
    """Raise UserError if the vocabulary at `path` is not the one of the prepared rows."""
    vocabulary = open_vocabulary(hub.local_vocabulary(path))
    if vocabulary.digest != data.vocabulary.digest:
        raise UserError(
            f"{path}: the digest of this vocabulary is {vocabulary.digest}, but the mixture "
            f"{data.mixture} was prepared with {data.vocabulary.digest}; leave config.vocabulary "
            "empty to use the vocabulary of the mixture"
        )


def read_samples(path: str, format: str, refused: RefusedRows) -> Iterator[Sample]:
    """Yield the samples of a file, a glob or a folder; see `sources.reading.read_samples`.

    Samples whose rows name no source get the name of their file as source.
    """
    inside = StoragePath(path) / layout.SAMPLES
    folder = inside if inside.is_dir() else StoragePath(path)
    inner = str(StoragePath(glob.escape(str(folder))) / _JSONL)
    where = inner if next(folder.glob(_JSONL), None) else path
    # A folder without jsonl files is left to `read_samples`, which opens or refuses it.
    for file in [path] if StoragePath(where).is_dir() else locations.expand("", where):
        name = _NUMBERED.sub("", StoragePath(file).stem)
        yield from reading.read_samples(SourceConfig(name, str(file), format), "", refused)


def vocabulary_of_samples(path: str, sample: Sample) -> Vocabulary:
    """Return the vocabulary of the teacher that annotated the sample, or one near the data.

    Raises UserError if there is neither.
    """
    teachers = [
        StoragePath(teacher)
        for annotation in sample.annotations.values()
        if isinstance(teacher := annotation.get("teacher"), str)
    ]
    data = StoragePath(path)
    for near in (*teachers, data):
        # RUN or RUN/checkpoints/STEP; DATA or OUTPUT/samples/FILE
        for folder in (near, *list(near.parents)[:2]):
            if holds_vocabulary(folder / layout.VOCABULARY):
                return open_vocabulary(folder / layout.VOCABULARY)
    raise UserError(
        f"{path}: no vocabulary beside it to count its tokens with; name the folder of one, as in "
        "--config.vocabulary=runs/mine/vocabulary"
    )
