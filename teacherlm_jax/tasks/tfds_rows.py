"""Raw rows that only TensorFlow can read: TFDS datasets on disk, and TFRecords of Examples."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.labels import Names, inside, labelled
from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.sources import raw_rows, source_files
from teacherlm_jax.sources.raw_rows import LocatedRow, RawRow, RowLocation, SourceRows
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

with contextlib.suppress(RuntimeError):  # TensorFlow is in use in this process already
    tf.config.set_visible_devices([], "GPU")  # it would take their memory from JAX

_GZIP = b"\x1f\x8b\x08"  # first bytes of every gzip file
_INTERNAL = re.compile(r"\{\{.*?\}\}|\[Op:\w+\].*", re.DOTALL)  # parts of TensorFlow's messages
_DESCRIPTIONS = ("dataset_info.json", "features.json")  # files of a TFDS folder besides its data


def tfds_rows(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    """Return the rows of a split, or of a part such as "train[:1%]", in the order of the files."""
    folder = paths[0]
    beside = tuple(folder / name for name in _DESCRIPTIONS)
    for path in beside:
        if not path.exists():
            versions = source_files.paths_in(config, source_files.described_below(folder))
            raise UserError(
                f"{path}: no such file; give the folder of one version of a TFDS dataset, "
                f"{versions or 'as in glue/sst2/2.0.0'}"
            )
    try:
        builder = tfds.builder_from_directory(folder)
        parts = builder.info.splits[config.split].file_instructions
    except (AssertionError, KeyError, ValueError, ParseError) as error:
        message = one_line(error.args[0] if error.args else error)
        raise UserError(
            f"{folder}: cannot read split={config.split!r}: {message}; name another split, or "
            "prepare the dataset again"
        ) from None
    names = _names(builder.info.features)

    def read() -> Iterator[LocatedRow]:
        in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        with _naming(folder):
            dataset = builder.as_dataset(
                split=config.split, shuffle_files=False, read_config=in_order
            )
            locations = (
                RowLocation(part.filename, part.skip + number)
                for part in parts
                for number in range(1, part.take + 1)
            )
            for location, example in zip(locations, tfds.as_numpy(dataset), strict=True):
                yield location, labelled(_plain(example), names)

    return SourceRows(tuple(StoragePath(part.filename) for part in parts), read, beside)


def _names(feature: Any) -> Names:
    """Return the names of the class labels in a TFDS feature, by their place in it."""
    if isinstance(feature, tfds.features.ClassLabel):
        return tuple(feature.names)
    if isinstance(feature, tfds.features.Sequence):
        return _names(feature.feature)
    if isinstance(feature, tfds.features.FeaturesDict):
        return inside({key: _names(value) for key, value in feature.items()})
    return {}


def tfrecord_rows(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    """Return the rows of TFRecord files of `tf.train.Example`, optionally gzipped."""
    raw_rows.refuse_split(config, paths[0])
    return SourceRows(tuple(paths), raw_rows.in_files(paths, _examples))


def _examples(path: epath.Path) -> Iterator[tuple[int, RawRow | files.MalformedRow]]:
    with files.opened(path) as file:
        start = file.read(len(_GZIP))
    if not start:
        raise UserError(f"{path}: empty file; remove it, or copy it again")
    compression = "GZIP" if start == _GZIP else ""
    with _naming(path):
        records = tf.data.TFRecordDataset(str(path), compression).prefetch(tf.data.AUTOTUNE)
        for number, record in enumerate(records.as_numpy_iterator(), start=1):
            try:
                features = tf.train.Example.FromString(record).features.feature
            except DecodeError:
                yield number, files.MalformedRow("not a tf.train.Example", repr(record))
                continue
            yield number, {name: _values(feature) for name, feature in features.items()}


def _values(feature: tf.train.Feature) -> Any:
    """Return the value of a feature that has exactly one, else the list of its values."""
    kind = feature.WhichOneof("kind")
    values = [] if kind is None else [_plain(value) for value in getattr(feature, kind).value]
    return values[0] if len(values) == 1 else values


def _plain(value: Any) -> Any:
    """Convert a value of TensorFlow to plain Python values; bytes in UTF-8 become text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, tf.RaggedTensor):
        return _plain(value.to_list())
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
    return value


@contextlib.contextmanager
def _naming(path: epath.Path) -> Iterator[None]:
    """Turn TensorFlow's errors into a UserError that names `path`."""
    try:
        yield
    except tf.errors.OpError as error:
        message = one_line(_INTERNAL.sub("", error.message))
        raise UserError(
            f"{path}: damaged, truncated or not readable: {message}; copy it again"
        ) from error
