"""The raw rows that only TensorFlow can read: TFDS data sets on disk, and TFRecords of Examples."""

import contextlib
import functools
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
from teacherlm_jax.sources import raw_rows
from teacherlm_jax.sources.raw_rows import LocatedRow, RawRow, RowLocation, SourceRows
from teacherlm_jax.storage import files

_GZIP = b"\x1f\x8b\x08"  # what begins every packed file
_INTERNAL = re.compile(r"\{\{.*?\}\}|\[Op:\w+\].*", re.DOTALL)  # parts of TensorFlow's messages
_DESCRIBED = ("dataset_info.json", "features.json")  # what a folder of TFDS holds besides its data


def _tfds(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    """The rows of a split, which may be a part of one, as in "train[:1%]", in the files' order."""
    folder = paths[0]
    beside = tuple(folder / name for name in _DESCRIBED)
    for path in beside:
        if not path.exists():
            versions = raw_rows.paths_in(config, raw_rows.described_below(folder))
            raise UserError(
                f"{path}: no such file; give the folder of one version of a TFDS data set, "
                f"{versions or 'as in glue/sst2/2.0.0'}"
            )
    try:
        builder = tfds.builder_from_directory(folder)
        parts = builder.info.splits[config.split].file_instructions
    except (AssertionError, KeyError, ValueError, ParseError) as error:
        said = one_line(error.args[0] if error.args else error)
        raise UserError(f"{folder}: cannot read split={config.split!r}: {said}") from None
    names = _names(builder.info.features)

    def read() -> Iterator[LocatedRow]:
        in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        with _blamed_on(folder):
            dataset = builder.as_dataset(
                split=config.split, shuffle_files=False, read_config=in_order
            )
            places = (
                RowLocation(part.filename, part.skip + number)
                for part in parts
                for number in range(1, part.take + 1)
            )
            for place, example in zip(places, tfds.as_numpy(dataset), strict=True):
                yield place, labelled(_plain(example), names)

    return SourceRows(tuple(epath.Path(part.filename) for part in parts), read, beside)


def _names(feature: Any) -> Names:
    """Where the class labels of a TFDS feature stand."""
    if isinstance(feature, tfds.features.ClassLabel):
        return tuple(feature.names)
    if isinstance(feature, tfds.features.Sequence):
        return _names(feature.feature)
    if isinstance(feature, tfds.features.FeaturesDict):
        return inside({key: _names(value) for key, value in feature.items()})
    return {}


def _tfrecord(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    raw_rows.refuse_split(config, paths[0])
    return SourceRows(tuple(paths), raw_rows.in_files(paths, _examples))


def _examples(path: epath.Path) -> Iterator[tuple[int, RawRow | files.MalformedRow]]:
    with files.opened(path) as file:
        begin = file.read(len(_GZIP))
    if not begin:
        raise UserError(f"{path}: nothing is in it; remove the file, or copy it again")
    compression = "GZIP" if begin == _GZIP else ""
    with _blamed_on(path):
        records = tf.data.TFRecordDataset(str(path), compression).prefetch(tf.data.AUTOTUNE)
        for number, record in enumerate(records.as_numpy_iterator(), start=1):
            try:
                features = tf.train.Example.FromString(record).features.feature
            except DecodeError:
                yield number, files.MalformedRow("no tf.train.Example", repr(record))
                continue
            yield number, {name: _values(feature) for name, feature in features.items()}


def _values(feature: tf.train.Feature) -> Any:
    """The value of a feature that has one; of others, the list of all."""
    kind = feature.WhichOneof("kind")
    values = [] if kind is None else [_plain(value) for value in getattr(feature, kind).value]
    return values[0] if len(values) == 1 else values


def _plain(value: Any) -> Any:
    """Plain Python values of what TensorFlow gives; bytes that are UTF-8 become text."""
    if isinstance(value, dict):
        return {name: _plain(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [_plain(inside) for inside in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, tf.RaggedTensor):
        return _plain(value.to_list())
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
    return value


@contextlib.contextmanager
def _blamed_on(path: epath.Path) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        said = one_line(_INTERNAL.sub("", error.message))
        raise UserError(f"{path}: damaged, cut short or not readable: {said}") from error


open_rows = functools.partial(
    raw_rows.open_rows, readers={**raw_rows.READERS, "tfds": _tfds, "tfrecord": _tfrecord}
)
