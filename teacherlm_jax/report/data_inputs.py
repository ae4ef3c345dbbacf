"""What lies at a path that a report on data names: samples or prepared mixtures; a vocabulary."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.data.writer import MANIFEST
from teacherlm_jax.errors import UserError
from teacherlm_jax.report import result_shapes
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, holds_vocabulary, open_vocabulary

_SAMPLES = "samples"  # where an annotation's run folder has them

_LINES = "*.jsonl"
_NUMBERED = re.compile(r"-\d+-of-\d+$")  # of the shards of one data set
_VOCABULARY = "vocabulary"
_MANIFEST = {
    "mixture": str,
    "inputs": {"mixture": {"author": str}, "vocabulary": {"digest": str}},
    "tasks": {},
    "drops": {},
}


def mixtures(path: str) -> list[Path]:
    """Folders of the prepared mixtures: the path itself, or those in an output of `prepare`."""
    if (Path(path) / MANIFEST).is_file():
        return [Path(path)]
    return sorted(found.parent for found in Path(glob.escape(path)).glob(f"[!.]*/{MANIFEST}"))


def open_mixture(folder: Path) -> tuple[RowReader, Vocabulary]:
    """A mixture's rows and the vocabulary beside them, whose digest is the rows' own.

    Raises UserError when either cannot be used.
    """
    reader = RowReader(folder, batch_size=1, seed=0)
    if difference := result_shapes.difference(reader.manifest, _MANIFEST):
        raise UserError(f"{folder / MANIFEST}: {difference}; prepare the mixture again")
    vocabulary = Vocabulary.load(folder / _VOCABULARY)
    require_digest(vocabulary, folder / _VOCABULARY, reader)
    return reader, vocabulary


def require_digest(vocabulary: Vocabulary, folder: Path, reader: RowReader) -> None:
    """Raises UserError when the vocabulary, which lies in `folder`, is not that of the rows."""
    wanted = reader.manifest["inputs"]["vocabulary"]["digest"]
    if vocabulary.digest != wanted:
        raise UserError(
            f"{folder}: its digest is {vocabulary.digest}, the rows of the mixture "
            f"{reader.manifest['mixture']} were made with {wanted}; leave config.vocabulary out, "
            "or prepare the mixture again"
        )


def read_samples(path: str, format: str, refused: files.RefusedRows) -> Iterator[Sample]:
    """Yields the samples of a file, a glob or a folder; see `formats.read_samples`.

    Those whose rows name no source are told apart by the names of their files.
    """
    inside = Path(path) / _SAMPLES
    folder = inside if inside.is_dir() else Path(path)
    inner = str(Path(glob.escape(str(folder))) / _LINES)
    where = inner if next(folder.glob(_LINES), None) else path
    # a folder without jsonl files is for `read_samples` to open, or to refuse
    for file in [path] if Path(where).is_dir() else files.expand("", where):
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
            if holds_vocabulary(folder / _VOCABULARY):
                return open_vocabulary(folder / _VOCABULARY)
    raise UserError(
        f"{path}: tells of no vocabulary to count its tokens with; name the folder of one, as in "
        "--config.vocabulary=runs/mine/vocabulary"
    )
