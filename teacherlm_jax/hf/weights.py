"""Weights of a Hugging Face folder: which files hold them, and the headers of those files."""

import dataclasses
import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import safetensors, torch_bin
from teacherlm_jax.hf.lazy_tensor import StoredTensor
from teacherlm_jax.storage import files, ranges


@dataclasses.dataclass(frozen=True)
class WeightFormat:
    """A file format of weights.

    Attributes:
        single: name of the file when one file holds all tensors.
        pattern: glob that matches all files of this format.
        shard: names of numbered shards, with the shard's number and their count as groups.
        read_header: returns the tensors of one file by name.
    """

    single: str
    pattern: str
    shard: re.Pattern[str]
    read_header: Callable[[epath.Path], dict[str, StoredTensor]]

    @property
    def index(self) -> str:
        """Name of the index of shards."""
        return f"{self.single}.index.json"

    def matching(self, names: Iterable[str]) -> list[str]:
        """Return the names of files of this format."""
        return [name for name in names if fnmatch.fnmatchcase(name, self.pattern)]


# In the order in which transformers looks for them.
FORMATS = (
    WeightFormat(
        "model.safetensors",
        "*.safetensors",
        re.compile(r"model[-_](\d+)-of-(\d+)\.safetensors"),
        safetensors.read_header,
    ),
    WeightFormat(
        "pytorch_model.bin",
        "pytorch_model*.bin",
        re.compile(r"pytorch_model[-_](\d+)-of-(\d+)\.bin"),
        torch_bin.read_header,
    ),
)
# Files that libraries write beside a model or in place of one; they hold part of it at most.
_PARTS = re.compile(r"(adapter|value_head|v_head|score)\w*\.(safetensors|bin)")
_SMALL = (".json", ".txt", ".model")


def holds_weights(folder: epath.Path) -> bool:
    """Return whether the folder has a file that `open_weights` could begin with."""
    names = files.names(folder)
    return any(format.index in names or format.matching(names) for format in FORMATS)


def open_weights(folder: epath.Path) -> dict[str, StoredTensor]:
    """Return the tensors of a folder by name; only headers are read.

    As in transformers, `model.safetensors` comes first, then its index, then `pytorch_model.bin`
    and its index. Without any of these, numbered shards are read, and last all other files except
    adapters and value heads. Raises UserError for a folder without weights, and by name for shards
    that are missing or damaged or that contradict their index.
    """
    names = files.names(folder)
    for format in FORMATS:
        if format.single in names:
            return _joined([folder / format.single], format)
        if format.index in names:
            return _indexed(folder / format.index, format, names)
    for format in FORMATS:
        if shards := _numbered(folder, format, names):
            return _joined(shards, format)
    for format in FORMATS:
        found = [name for name in format.matching(names) if not _PARTS.fullmatch(name)]
        if found:
            return _joined([folder / name for name in found], format)
    raise UserError(f"{folder}: {_nothing_found(names)}")


def refuse_parts(folder: epath.Path) -> None:
    """Raise UserError if all weights in a folder are those of an adapter or a value head."""
    names = files.names(folder)
    weights = [name for name in names if _is_weights(name)]
    if weights and all(map(_PARTS.fullmatch, weights)):
        raise UserError(f"{folder}: {_nothing_found(names)}")


def _nothing_found(names: Iterable[str]) -> str:
    parts = [name for name in names if _PARTS.fullmatch(name)]
    if parts:
        return (
            f"holds no weights of a whole model, only {', '.join(parts)}; merge an adapter into "
            "its base model (merge_and_unload in peft), save that with save_pretrained, and name "
            "its folder"
        )
    wanted = " or ".join(f"{format.single}, {format.index}" for format in FORMATS)
    return f"holds no weights; expected {wanted} with its shards"


def source_state(folder: epath.Path) -> dict[str, str]:
    """Return what identifies each file of a folder: by name, its digest or its version.

    Configs, tokenizers and indexes are identified by digest, weights by size and time of change, or
    by size and generation in a bucket.
    """
    state = {}
    for name in files.names(folder):
        small = Path(name).suffix in _SMALL
        if not (small or _is_weights(name)) or files.is_folder(folder / name):
            continue
        path = folder / name
        state[name] = ranges.version(path) if _is_weights(name) else files.file_digest(path)
    return state


def weight_digests(folder: epath.Path) -> dict[str, str]:
    """Return the digest of each weight file of a folder by name; all of them are read."""
    paths = [folder / name for name in files.names(folder) if _is_weights(name)]
    return {path.name: files.file_digest(path) for path in paths if not files.is_folder(path)}


def _is_weights(name: str) -> bool:
    return any(format.matching([name]) for format in FORMATS)


def _numbered(folder: epath.Path, format: WeightFormat, names: Iterable[str]) -> list[epath.Path]:
    """Shards without an index, in order; UserError when one of them is missing."""
    matches = [match for name in names if (match := format.shard.fullmatch(name))]
    numbers: dict[int, set[int]] = {}
    for match in matches:
        numbers.setdefault(int(match[2]), set()).add(int(match[1]))
    if len(numbers) > 1:
        counts = " and ".join(map(str, sorted(numbers)))
        raise UserError(
            f"{folder}: holds shards of sets of {counts} without an index; keep the shards of one "
            "checkpoint only"
        )
    for count, present in numbers.items():
        missing = sorted(set(range(1, count + 1)) - present)
        if missing:
            listed = ", ".join(map(str, missing[:5]))
            raise UserError(
                f"{folder}: shards {listed} of {count} are missing beside {matches[0][0]}; copy "
                "them there"
            )
    return [folder / match[0] for match in matches]


def _indexed(
    index: epath.Path, format: WeightFormat, names: Sequence[str]
) -> dict[str, StoredTensor]:
    content = files.read_json(index)
    placed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(placed, dict) or not all(
        isinstance(shard, str) and shard == Path(shard).name for shard in placed.values()
    ):
        raise UserError(
            f"{index}: has no weight_map that gives each tensor a file beside it; copy the file "
            "again"
        )
    shards = [index.parent / shard for shard in sorted(set(placed.values()))]
    for shard in shards:
        if shard.name not in names:
            raise UserError(f"{shard}: no such file, but {index.name} lists it; copy it there")
    tensors = _joined(shards, format)
    for name in sorted(placed.keys() | tensors.keys()):
        found = tensors[name].file.name if name in tensors else "no file"
        if placed.get(name, "no file") != found:
            raise UserError(
                f"{index}: says that {name} is in {placed.get(name, 'no file')}, but it is in "
                f"{found}; copy the index and its shards again, from one checkpoint"
            )
    return tensors


def _joined(shards: Iterable[epath.Path], format: WeightFormat) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        if files.is_folder(shard):
            raise UserError(f"{shard}: is a folder; expected a file of weights")
        for name, tensor in format.read_header(shard).items():
            if name in tensors:
                raise UserError(
                    f"{shard}: {name} is also in {tensors[name].file.name}; keep the shards of one "
                    "checkpoint only"
                )
            tensors[name] = tensor
    return tensors
