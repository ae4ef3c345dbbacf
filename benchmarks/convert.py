"""Memory and time of `teacherlm convert`, there and back, on a folder of bloom-1b7's shape.

The requirement: beyond the model's own arrays, which lie in host memory on a machine without an
accelerator, the host holds less than twice the largest tensor plus 1 GiB. Peaks are those of the
whole process as the kernel counts them (ru_maxrss), interpreter and libraries included.

    python -m benchmarks.convert [folder for 30 GB of temporary files]
"""

import dataclasses
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import pre_tokenizers

from benchmarks import harness
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.hf import config_json as layout
from teacherlm_jax.hf import tensor_names
from teacherlm_jax.hf.safetensors import SafetensorsWriter
from teacherlm_jax.hf.tensor_names import TensorSlot
from teacherlm_jax.hf.weights import open_weights
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files

GIB = 2**30
SHARD = 2 * 10**9  # bytes of a file of the source
BLOCK = 1 << 24  # numbers drawn at a time


@dataclasses.dataclass(frozen=True)
class Measured:
    """One conversion.

    Attributes:
        name: from what to what.
        seconds: of the whole command.
        peak: of the process's memory, bytes.
        arrays: of the model, bytes.
        largest: of the model's tensors, bytes.
    """

    name: str
    seconds: float
    peak: int
    arrays: int
    largest: int

    @property
    def beyond(self) -> int:
        """Memory beyond the model's own arrays."""
        return self.peak - self.arrays

    @property
    def allowed(self) -> int:
        """What the requirement allows there."""
        return 2 * self.largest + GIB


def main() -> int:
    """Runs it; the exit status says whether every conversion stayed within its memory."""
    model = registry.SHAPES["bloom-1b7"]
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as folder:
        results = _measured(model, Path(folder))
    rows = [
        (r.name, f"{r.seconds:.0f}", *(f"{size / GIB:.2f}" for size in
         (r.arrays, r.largest, r.peak, r.beyond, r.allowed)))
        for r in results
    ]  # fmt: skip
    header = ("conversion", "s", "model size", "largest tensor", "peak", "overhead", "limit")
    text = harness.table(header, rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "convert", text + harness.conditions())
    worst = max(results, key=lambda r: r.beyond / r.allowed)
    return harness.finish(
        "convert",
        f"{worst.beyond / GIB:.2f} GiB beyond the arrays ({worst.name})",
        f"under {worst.allowed / GIB:.2f} GiB",
        all(r.beyond < r.allowed for r in results),
        {"unit": "bytes, seconds", "conversions": [_figures(r) for r in results]},
    )


def _figures(result: Measured) -> dict[str, Any]:
    sums = {"beyond": result.beyond, "allowed": result.allowed}
    return {**dataclasses.asdict(result), **sums}


def _measured(model: ModelConfig, folder: Path) -> list[Measured]:
    start = time.monotonic()
    _write_source(model, folder / "theirs")
    print(f"wrote the source in {time.monotonic() - start:.0f} s", flush=True)
    results = []
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        sizes = [math.prod(slot.stored_shape) * width for slot in tensor_names.slots(model)]
        for name, source, output in (
            (f"safetensors to Orbax, {dtype}", folder / "theirs", folder / dtype),
            (f"Orbax to safetensors, {dtype}", folder / dtype, folder / "back"),
        ):
            seconds, peak = _run(source, output, dtype)
            results.append(Measured(name, seconds, peak, sum(sizes), max(sizes)))
        if dtype == "float32":
            _require_equal(folder / "theirs", folder / "back")
        for used in (folder / dtype, folder / "back"):
            shutil.rmtree(used)
    _save_with_torch(folder / "theirs")
    seconds, peak = _run(folder / "theirs", folder / "bfloat16", "bfloat16")
    results.append(Measured(".bin to Orbax, bfloat16", seconds, peak, sum(sizes), max(sizes)))
    return results


def _save_with_torch(folder: Path) -> None:
    """The same tensors as PyTorch's shards, one after the other in place of the safetensors."""
    index = folder / "model.safetensors.index.json"
    placed = files.read_json(index)["weight_map"]
    tensors = open_weights(folder)
    for file in sorted(set(placed.values())):
        names_in = [name for name, where in placed.items() if where == file]
        torch.save(
            {name: torch.from_numpy(tensors[name].read()) for name in names_in},
            folder / f"pytorch_{file.replace('safetensors', 'bin')}",
        )
        (folder / file).unlink()
    index.unlink()


def _run(source: Path, output: Path, dtype: str) -> tuple[float, int]:
    """Seconds and peak memory of one command, in a process of its own."""
    words = [sys.executable, "-m", "teacherlm_jax", "convert", str(source), str(output)]
    start = time.monotonic()
    process = os.posix_spawn(sys.executable, [*words, f"--config.dtype={dtype}"], os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)}: ended with status {status}")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def _write_source(model: ModelConfig, folder: Path) -> None:
    """A folder of transformers' layout: random weights, and a tokenizer of bytes."""
    folder.mkdir()
    shards: list[list[TensorSlot]] = [[]]
    room = SHARD
    for slot in tensor_names.slots(model):
        nbytes = 4 * math.prod(slot.stored_shape)
        if nbytes > room and shards[-1]:
            shards.append([])
            room = SHARD
        shards[-1].append(slot)
        room -= nbytes
    random, placed = np.random.default_rng(0), {}
    for number, slots in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        shapes = {f"transformer.{slot.name}": slot.stored_shape for slot in slots}
        with SafetensorsWriter(folder / file, shapes, "float32") as writer:
            for shape in shapes.values():
                for block in _numbers(random, math.prod(shape)):
                    writer.write(block)
        placed |= dict.fromkeys(shapes, file)
    files.write_json(folder / "model.safetensors.index.json", {"weight_map": placed})
    files.write_json(folder / "config.json", layout.described(model))
    tokens = ("<unk>", "<s>", "</s>", "<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet()))
    ids = {token: id for id, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def _numbers(random: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Random signs, exponents about those of weights, and random digits, which do not compress."""
    for start in range(0, count, BLOCK):
        bits = random.integers(0, 2**32, min(BLOCK, count - start), np.uint32)
        yield ((bits & 0x81FFFFFF) | 0x3C000000).view(np.float32)


def _require_equal(first: Path, second: Path) -> None:
    """The second folder must have the same tensors, bit for bit."""
    ours, theirs = open_weights(first), open_weights(second)
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"{second}: has other tensors than {first}")
    for name, tensor in ours.items():
        rows = max(1, 4 * BLOCK * tensor.shape[0] // tensor.nbytes)
        for start in range(0, tensor.shape[0], rows):
            cut = (slice(start, start + rows), *(slice(None) for _ in tensor.shape[1:]))
            if not np.array_equal(tensor.read(cut), theirs[name].read(cut)):
                raise RuntimeError(f"{second}: {name} came back with other values")


if __name__ == "__main__":
    sys.exit(main())
