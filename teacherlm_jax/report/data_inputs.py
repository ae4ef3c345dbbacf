"""What lies at a path that a report on data names: samples or prepared mixtures; a vocabulary."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary, holds_vocabulary, open_vocabulary

_LINES = "*.jsonl"
_NUMBERED = re.compile(r"-\d+-of-\d+$")  # of the shards of one data set


def mixtures(path: str) -> list[Path]:
    """Folders of the prepared mixtures: the path itself, or those in an output of `prepare`."""
    if prepared.is_prepared(path):
        return [Path(path)]
    return sorted(
        found.parent for found in Path(glob.escape(path)).glob(f"[!.]*/{layout.MANIFEST}")
    )


def require_digest(vocabulary: Vocabulary, folder: Path, data: Prepared) -> None:
    """Raise UserError unless the vocabulary in `folder` is the one that the rows were made with."""
    if vocabulary.digest != data.vocabulary.digest:
        raise UserError(
            f"{folder}: has the digest {vocabulary.digest}, but the rows of the mixture "
            f"{data.mixture} were made with {data.vocabulary.digest}; leave config.vocabulary "
            "empty, or prepare the mixture again"
        )


def read_samples(path: str, format: str, refused: RefusedRows) -> Iterator[Sample]:
    """Yields the samples of a file, a glob or a folder; see `formats.read_samples`.

    Those whose rows name no source are told apart by the names of their files.
    """
    inside = Path(path) / layout.SAMPLES
    folder = inside if inside.is_dir() else Path(path)
    inner = str(Path(glob.escape(str(folder))) / _LINES)
    where = inner if next(folder.glob(_LINES), None) else path
    # a folder without jsonl files is for `read_samples` to open, or to refuse
    for file in [path] if Path(where).is_dir() else locations.expand("", where):
        name = _NUMBERED.sub("", Path(file).stem)
        yield from reading.read_samples(SourceConfig(name, str(file), format), "", refused)


def vocabulary_of_samples(path: str, sample: Sample) -> Vocabulary:
    """That of the teacher that annotated the sample, or one that lies near the data.

    Raises UserError when there is neither.
    """
    teachers = [
        Path(teacher)
        for made in sample.annotations.values()
        if isinstance(teacher := made.get("teacher"), str)
    ]
    data = Path(path)
    for near in (*teachers, data):
        # RUN or RUN/checkpoints/STEP; DATA or OUTPUT/samples/FILE
        for folder in (near, *list(near.parents)[:2]):
            if holds_vocabulary(folder / layout.VOCABULARY):
                return open_vocabulary(folder / layout.VOCABULARY)
    raise UserError(
        f"{path}: tells of no vocabulary to count its tokens with; name the folder of one, as in "
        "--config.vocabulary=runs/mine/vocabulary"
    )
