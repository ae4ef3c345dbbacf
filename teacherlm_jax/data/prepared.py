"""A prepared mixture: the packed rows, manifest and vocabulary in one folder, validated once."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.data.reader import COPY_AGAIN, PREPARE_AGAIN, RowReader
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The folder of one mixture that `prepare` has finished.

    Attributes:
        folder: path of the folder.
        manifest: content of `manifest.json`.
        digest: `sha256:…` of the manifest, which contains the digest of every shard.
        vocabulary: vocabulary that the rows were tokenized with.
        is_copy: the folder has only the shards, in a cache that compares their digests itself.
    """

    folder: epath.Path
    manifest: Mapping[str, Any]
    digest: str
    vocabulary: Vocabulary
    is_copy: bool = False

    @property
    def mixture(self) -> str:
        """Name of the mixture."""
        return self.manifest["mixture"]

    @property
    def rows(self) -> int:
        """Number of packed rows."""
        return self.manifest["rows"]

    @property
    def length(self) -> int:
        """Tokens per packed row."""
        return self.manifest["length"]

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text in a row."""
        return self.manifest["inputs"]["max_tokens"]

    def steps(self, batch_size: int, epochs: int) -> int:
        """Return the number of steps that read all rows `epochs` times."""
        return -(-self.rows * epochs // batch_size)

    def reader(
        self,
        *,
        batch_size: int = 1,
        seed: int = 0,
        process_index: int = 0,
        process_count: int = 1,
        verify: bool = False,
    ) -> RowReader:
        """Open the rows; see `RowReader` for the arguments and exceptions.

        The shards of a copy are not verified again.
        """
        return RowReader(
            self.folder,
            self.manifest,
            batch_size=batch_size,
            seed=seed,
            process_index=process_index,
            process_count=process_count,
            verify=verify and not self.is_copy,
            remedy=COPY_AGAIN if self.is_copy else PREPARE_AGAIN,
        )


def open(folder: epath.PathLike) -> Prepared:
    """Open the folder of a prepared mixture.

    Raises UserError if the folder is missing or unfinished, if its manifest lacks a key or has a
    value of the wrong type, and if the rows were tokenized with another vocabulary than its own.
    """
    folder = StoragePath(folder)
    manifest = read_manifest(folder)
    vocabulary = Vocabulary.load(folder / layout.VOCABULARY)
    expected = manifest["inputs"]["vocabulary"]["digest"]
    if vocabulary.digest != expected:
        raise UserError(
            f"{folder / layout.VOCABULARY}: has the digest {vocabulary.digest}, but the rows were "
            f"tokenized with {expected}; {PREPARE_AGAIN}"
        )
    return Prepared(folder, manifest, _digest(folder), vocabulary)


def open_manifest(path: epath.PathLike) -> Prepared:
    """Open the prepared mixture of a manifest, given its path or that of its folder; see `open`."""
    return open(_folder_of(path))


def digest(path: epath.PathLike) -> str:
    """Return `Prepared.digest` of a mixture, given its folder or manifest; reads the manifest only.

    Raises UserError as `read_manifest` does.
    """
    folder = _folder_of(path)
    read_manifest(folder)
    return _digest(folder)


def _folder_of(path: epath.PathLike) -> epath.Path:
    path = StoragePath(path)
    return path.parent if path.name == layout.MANIFEST else path


def _digest(folder: epath.Path) -> str:
    return files.file_digest(folder / layout.MANIFEST)


def is_prepared(folder: epath.PathLike) -> bool:
    """Return whether a folder has the manifest of a finished mixture."""
    return (StoragePath(folder) / layout.MANIFEST).is_file()


def read_manifest(folder: epath.Path) -> dict[str, Any]:
    """Return the manifest of a prepared mixture, with every key that this package reads.

    Raises UserError if the folder is missing or unfinished, and if a key is missing or has a value
    of the wrong type.
    """
    if not files.is_folder(folder):
        raise UserError(
            f"{folder}: no such folder; run `teacherlm prepare`, which writes one for each mixture"
        )
    path = folder / layout.MANIFEST
    if not path.is_file():
        raise UserError(
            f"{folder}: has no {layout.MANIFEST}, so it is not a finished mixture; name the folder "
            "of one mixture in the output of `prepare`, and let `prepare` finish"
        )
    manifest = files.read_json(path)
    for key, (is_valid, expected) in _KEYS.items():
        value = functools.reduce(_get, key.split("."), manifest)
        if value is None:
            raise UserError(f"{path}: the key {key} is missing; {PREPARE_AGAIN}")
        if not is_valid(value):
            raise UserError(f"{path}: {key} is {value!r}, expected {expected}; {PREPARE_AGAIN}")
    return manifest


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _are_shards(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(shard, dict)
        and isinstance(shard.get("name"), str)
        and isinstance(shard.get("digest"), str)
        and _is_count(shard.get("bytes"))
        for shard in value or [None]
    )


_TEXT = (_is_text, "text")
_OBJECT = (_is_object, "an object")
_COUNT = (_is_count, "a positive integer")

# Keys of a manifest, each with a check of its value and a description of valid values.
_KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "mixture": _TEXT,
    "length": _COUNT,
    "rows": _COUNT,
    "shards": (_are_shards, "a list of objects with name, digest and bytes"),
    "tasks": _OBJECT,
    "drops": _OBJECT,
    "inputs.mixture.author": _TEXT,
    "inputs.vocabulary.digest": _TEXT,
    "inputs.max_tokens": _COUNT,
}
