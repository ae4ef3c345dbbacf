"""All tensors of a folder of Hugging Face's layout by name, whatever files they lie in."""

from collections.abc import Callable, Iterable
from pathlib import Path

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import safetensors, torch_bin
from teacherlm_jax.hf.lazy_tensor import Stored
from teacherlm_jax.storage import files

# What to look for, the first that is there counting: files of one kind, and what reads them.
_KINDS: tuple[tuple[str, str, Callable[[Path], dict[str, Stored]]], ...] = (
    ("model.safetensors", "*.safetensors", safetensors.read_header),
    ("pytorch_model.bin", "pytorch_model*.bin", torch_bin.read_header),
)
_SMALL = (".json", ".txt", ".model")


def holds_weights(folder: Path) -> bool:
    """Whether there is any file of weights, or an index of some."""
    return any(
        (folder / f"{single}.index.json").exists() or any(folder.glob(pattern))
        for single, pattern, _ in _KINDS
    )


def open_weights(folder: Path) -> dict[str, Stored]:
    """Headers of all files of weights in the folder: their tensors by name.

    Safetensors come before `.bin`; the shards of an index before a single file; without either,
    all files of the kind are shards. Raises UserError for a folder without weights, and by name for
    shards that are missing, cut or corrupt, or that are not what the index says.
    """
    for single, pattern, read_header in _KINDS:
        index = folder / f"{single}.index.json"
        if index.exists():
            return _indexed(index, read_header)
        if (folder / single).exists():
            return _joined([folder / single], read_header)
        if shards := sorted(folder.glob(pattern)):
            return _joined(shards, read_header)
    wanted = " or ".join(f"{single}, {single}.index.json" for single, _, _ in _KINDS)
    raise UserError(f"{folder}: holds no weights; wanted {wanted} with the shards it names")


def source_state(folder: Path) -> dict[str, str]:
    """What tells whether the files of a folder are still the same, by their names.

    The digest of small ones (configs, the tokenizer, an index), size and time of change of weights.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        if any(path.match(pattern) for _, pattern, _ in _KINDS):
            status = path.stat()
            found[path.name] = f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"
        elif path.suffix in _SMALL:
            found[path.name] = files.file_digest(path)
    return found


def _indexed(index: Path, read_header: Callable[[Path], dict[str, Stored]]) -> dict[str, Stored]:
    content = files.read_json(index)
    placed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(placed, dict) or not all(
        isinstance(shard, str) and shard == Path(shard).name for shard in placed.values()
    ):
        raise UserError(f"{index}: has no weight_map that gives each tensor a file beside it")
    shards = [index.parent / shard for shard in sorted(set(placed.values()))]
    for shard in shards:
        if not shard.is_file():
            raise UserError(f"{shard}: no such file, though {index.name} names it; copy it there")
    tensors = _joined(shards, read_header)
    for name in sorted(placed.keys() | tensors.keys()):
        found = tensors[name].file.name if name in tensors else "no file"
        if placed.get(name, "no file") != found:
            raise UserError(
                f"{index}: says that {name} is in {placed.get(name, 'no file')}, found it in "
                f"{found}; copy the index and its shards again, from one place"
            )
    return tensors


def _joined(
    shards: Iterable[Path], read_header: Callable[[Path], dict[str, Stored]]
) -> dict[str, Stored]:
    tensors: dict[str, Stored] = {}
    for shard in shards:
        if not shard.is_file():
            raise UserError(f"{shard}: is no file; wanted one that holds weights")
        for name, tensor in read_header(shard).items():
            if name in tensors:
                raise UserError(
                    f"{shard}: {name} is in {tensors[name].file.name} too; keep the shards of one "
                    "checkpoint only"
                )
            tensors[name] = tensor
    return tensors
