"""Weights of a Hugging Face folder: which files hold them, and the headers of those files."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import safetensors, torch_bin
from teacherlm_jax.hf.lazy_tensor import StoredTensor
from teacherlm_jax.storage import files


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
    read_header: Callable[[Path], dict[str, StoredTensor]]

    @property
    def index(self) -> str:
        """Name of the index of shards."""
        return f"{self.single}.index.json"


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


def holds_weights(folder: Path) -> bool:
    """Return whether the folder has a file that `open_weights` could begin with."""
    return any(
        (folder / format.index).exists() or any(folder.glob(format.pattern)) for format in FORMATS
    )


def open_weights(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a folder by name; only headers are read.

    As in transformers, `model.safetensors` comes first, then its index, then `pytorch_model.bin`
    and its index. Without any of these, numbered shards are read, and last all other files except
    adapters and value heads. Raises UserError for a folder without weights, and by name for shards
    that are missing or damaged or that contradict their index.
    """
    for format in FORMATS:
        if (folder / format.single).exists():
            return _joined([folder / format.single], format)
        if (folder / format.index).exists():
            return _indexed(folder / format.index, format)
    for format in FORMATS:
        if shards := _numbered(folder, format):
            return _joined(shards, format)
    for format in FORMATS:
        found = [path for path in folder.glob(format.pattern) if not _PARTS.fullmatch(path.name)]
        if found:
            return _joined(sorted(found), format)
    raise UserError(f"{folder}: {_nothing_found(folder)}")


def _nothing_found(folder: Path) -> str:
    parts = sorted(path.name for path in folder.iterdir() if _PARTS.fullmatch(path.name))
    if parts:
        return (
            f"holds no weights of a whole model, only {', '.join(parts)}; merge an adapter into "
            "its base model (merge_and_unload in peft), save that with save_pretrained, and name "
            "its folder"
        )
    wanted = " or ".join(f"{format.single}, {format.index}" for format in FORMATS)
    return f"holds no weights; expected {wanted} with its shards"


def source_state(folder: Path) -> dict[str, str]:
    """Return what identifies each file of a folder: by name, its digest or its size and time.

    Configs, tokenizers and indexes are identified by digest, weights by size and time of change.
    """
    state = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        if _is_weights(path):
            status = path.stat()
            state[path.name] = f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"
        elif path.suffix in _SMALL:
            state[path.name] = files.file_digest(path)
    return state


def weight_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each weight file of a folder by name; all of them are read."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and _is_weights(path))
    return {path.name: files.file_digest(path) for path in paths}


def _is_weights(path: Path) -> bool:
    return any(path.match(format.pattern) for format in FORMATS)


def _numbered(folder: Path, format: WeightFormat) -> list[Path]:
    """Shards without an index, in order; UserError when one of them is missing."""
    matches = {
        path: match
        for path in sorted(folder.glob(format.pattern))
        if (match := format.shard.fullmatch(path.name))
    }
    numbers: dict[int, set[int]] = {}
    for match in matches.values():
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
            names = ", ".join(map(str, missing[:5]))
            raise UserError(
                f"{folder}: shards {names} of {count} are missing beside "
                f"{next(iter(matches)).name}; copy them there"
            )
    return list(matches)


def _indexed(index: Path, format: WeightFormat) -> dict[str, StoredTensor]:
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
        if not shard.is_file():
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


def _joined(shards: Iterable[Path], format: WeightFormat) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        if not shard.is_file():
            raise UserError(f"{shard}: is a folder; expected a file of weights")
        for name, tensor in format.read_header(shard).items():
            if name in tensors:
                raise UserError(
                    f"{shard}: {name} is also in {tensors[name].file.name}; keep the shards of one "
                    "checkpoint only"
                )
            tensors[name] = tensor
    return tensors
