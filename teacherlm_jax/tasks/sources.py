"""Raw files as SeqIO data sources."""

import dataclasses
import itertools
import json
from collections.abc import Iterator

import seqio
import tensorflow as tf

from teacherlm_jax import files
from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import formats
from teacherlm_jax.data.sample import Sample, to_row

CHUNK = (
    256  # examples that go between Python and TensorFlow at once; one by one takes twice as long
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A source that was read once from end to end, so that all its later readings are known.

    Attributes:
        config: where and what.
        root: the folder that `config.path` is taken under.
        samples: usable rows.
        refused: rows that cannot be used.
        digests: sha256 by file name.
    """

    config: SourceConfig
    root: str
    samples: int
    refused: int
    digests: dict[str, str]

    def read(self, checked_only: bool = False) -> Iterator[Sample]:
        """Yields the samples again; see `formats.read_samples`. Refused rows were filed before."""
        return formats.read_samples(
            self.config, self.root, files.RefusedRows(None), checked_only=checked_only
        )


def survey(config: SourceConfig, root: str, refused: files.RefusedRows) -> Source:
    """Reads a source once: counts it and files its unusable rows in `refused`. Raises UserError."""
    before = refused.total
    samples = sum(1 for _ in formats.read_samples(config, root, refused))
    names = formats.names_apart(files.expand(root, config.path))
    digests = {name: files.file_digest(path) for path, name in names.items()}
    return Source(config, root, samples, refused.total - before, digests)


def data_source(source: Source, checked_only: bool) -> seqio.FunctionDataSource:
    """A SeqIO source with one split, `train`; its examples are {"sample": JSON of a sample}."""

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed  # one split, always in the files' order; the task shuffles

        def chunks() -> Iterator[dict[str, list[str]]]:
            rows = (json.dumps(to_row(sample)) for sample in source.read(checked_only))
            while chunk := list(itertools.islice(rows, CHUNK)):
                yield {"sample": chunk}

        signature = {"sample": tf.TensorSpec([None], tf.string)}
        return tf.data.Dataset.from_generator(chunks, output_signature=signature).unbatch()

    return seqio.FunctionDataSource(
        dataset, splits=["train"], num_input_examples={"train": source.samples}
    )
