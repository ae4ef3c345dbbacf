"""`make bench-convert`: memory and time of `teacherlm convert` in both directions for bloom-1b7.

Requirement: besides the model's arrays, which are in host memory on a machine without an
accelerator, the process needs less than twice the largest tensor plus 1 GiB. Peak memory is the
maximum resident set size of the process (ru_maxrss), including interpreter and libraries.

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
SHARD = 2 * 10**9  # bytes per shard of the source
BLOCK = 1 << 24  # random numbers generated at a time


@dataclasses.dataclass(frozen=True)
class Measured:
    """One conversion.

    Attributes:
        name: source and target format.
        seconds: time of the command.
        peak: peak memory of the process in bytes.
        arrays: size of the model's arrays in bytes.
        largest: size of the model's largest tensor in bytes.
    """

    name: str
    seconds: float
    peak: int
    arrays: int
    largest: int

    @property
    def beyond(self) -> int:
        """Return the bytes used besides the model's arrays."""
        return self.peak - self.arrays

    @property
    def allowed(self) -> int:
        """Return the bytes that the requirement allows besides the arrays."""
        return 2 * self.largest + GIB


def main() -> int:
    """Run all conversions; return 0 if all of them met the memory requirement."""
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
    _write_source(model, folder / "hf")
    print(f"wrote the source in {time.monotonic() - start:.0f} s", flush=True)
    results = []
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        sizes = [math.prod(slot.stored_shape) * width for slot in tensor_names.slots(model)]
        for name, source, output in (
            (f"safetensors to Orbax, {dtype}", folder / "hf", folder / dtype),
            (f"Orbax to safetensors, {dtype}", folder / dtype, folder / "back"),
        ):
            seconds, peak = _run(source, output, dtype)
            results.append(Measured(name, seconds, peak, sum(sizes), max(sizes)))
        if dtype == "float32":
            _require_equal(folder / "hf", folder / "back")
        for used in (folder / dtype, folder / "back"):
            shutil.rmtree(used)
    _save_with_torch(folder / "hf")
    seconds, peak = _run(folder / "hf", folder / "bfloat16", "bfloat16")
    results.append(Measured(".bin to Orbax, bfloat16", seconds, peak, sum(sizes), max(sizes)))
    return results


def _save_with_torch(folder: Path) -> None:
    """Replace the safetensors shards of a folder by PyTorch shards, one after the other."""
    index = folder / "model.safetensors.index.json"
    shard_of = files.read_json(index)["weight_map"]
    tensors = open_weights(folder)
    for file in sorted(set(shard_of.values())):
        names_in = [name for name, shard in shard_of.items() if shard == file]
        torch.save(
            {name: torch.from_numpy(tensors[name].read()) for name in names_in},
            folder / f"pytorch_{file.replace('safetensors', 'bin')}",
        )
        (folder / file).unlink()
    index.unlink()


def _run(source: Path, output: Path, dtype: str) -> tuple[float, int]:
    """Run one command; return its seconds and its peak memory in bytes."""
    words = [sys.executable, "-m", "teacherlm_jax", "convert", str(source), str(output)]
    start = time.monotonic()
    process = os.posix_spawn(sys.executable, [*words, f"--config.dtype={dtype}"], os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)}: exit status {status}")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def _write_source(model: ModelConfig, folder: Path) -> None:
    """Write a Hugging Face folder with random weights and a byte-level tokenizer."""
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
    """Yield random numbers with the magnitude of weights and incompressible bits."""
    for start in range(0, count, BLOCK):
        bits = random.integers(0, 2**32, min(BLOCK, count - start), np.uint32)
        yield ((bits & 0x81FFFFFF) | 0x3C000000).view(np.float32)


def _require_equal(first: Path, second: Path) -> None:
    """Raise RuntimeError unless both folders have the same tensors, bit for bit."""
    expected, actual = open_weights(first), open_weights(second)
    if expected.keys() != actual.keys():
        raise RuntimeError(f"{second}: its tensor names differ from those of {first}")
    for name, tensor in expected.items():
        rows = max(1, 4 * BLOCK * tensor.shape[0] // tensor.nbytes)
        for start in range(0, tensor.shape[0], rows):
            cut = (slice(start, start + rows), *(slice(None) for _ in tensor.shape[1:]))
            if not np.array_equal(tensor.read(cut), actual[name].read(cut)):
                raise RuntimeError(f"{second}: {name} differs from that of {first}")


if __name__ == "__main__":
    sys.exit(main())
