"""The attention implementations side by side: agreement, memory, time, for T = 512 to 8192.

16 heads of width 64, as in bloom-560m. Writes the table of docs/reference/results.md. On two
cores it takes about five minutes, most of them for the fused kernel, which a CPU interprets.
"""

import dataclasses
import functools
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from benchmarks import harness, topology
from teacherlm_jax.models import alibi, attention_fused
from teacherlm_jax.models.attention import attention

LENGTHS = (512, 1024, 2048, 4096, 8192)
HEADS, WIDTH = 16, 64
OTHERS = ("blockwise", "fused")
TEXTS = {"one text": None, "texts of about 128 tokens": 128}
AGREEMENT = 1e-5  # of blockwise with the reference, values and gradients, float32
GROWTH = 2.1  # of blockwise memory, forward and backward, from 4096 to 8192 tokens
LARGEST = 8 * 2**30  # bytes that a program measured here may need besides its arguments
CHIP_ROWS = 8  # rows of a batch on the chip: few bytes hide in its fast memory

_SLOPES = alibi.slopes(HEADS)
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured of one implementation at one length.

    Attributes:
        value, gradients: largest difference from the reference, float32; None for itself.
        bfloat16: largest difference of the bfloat16 value from the float32 reference.
        heads: of how many heads those three are.
        forward_bytes, bytes: temporary memory on a CPU, one row, float32; bytes with the backward;
            None for the kernel that needs a TPU.
        chip: temporary MiB on a v5e chip of CHIP_ROWS rows in bfloat16, forward and backward, or
            what the compiler said it would need.
        seconds: forward and backward on the CPU, by the texts of the row, or why it was not run.
    """

    length: int
    implementation: str
    value: float | None
    gradients: float | None
    bfloat16: float
    heads: int
    forward_bytes: int | None
    bytes: int | None
    chip: str
    seconds: dict[str, float | str]


def main() -> int:
    """Measures everything, prints the table and puts it into docs/reference/results.md."""
    jax.config.update("jax_platforms", "cpu")
    rows = []
    for length in LENGTHS:
        with attention_fused.interpreted():
            differences = agreement(length)
        for name in ("xla", *OTHERS):
            rows.append(figures(length, name, differences[name]))
            print(rows[-1], flush=True)
    text = _table(rows)
    print(text)
    harness.put_into(
        harness.RESULTS_PAGE,
        "attention",
        f"{text}{harness.conditions()}Compiled for the chip by libtpu {topology.version()}.\n",
    )
    blockwise = [row for row in rows if row.implementation == "blockwise"]
    worst = max(max(row.value, row.gradients) for row in blockwise)
    growth = blockwise[-1].bytes / blockwise[-2].bytes
    return harness.finish(
        "attention",
        f"blockwise off by {worst:.1e}; {growth:.2f} times the memory at 8192 as at 4096",
        f"{AGREEMENT:.0e}; {GROWTH} times",
        worst <= AGREEMENT and growth <= GROWTH,
        {"rows": [dataclasses.asdict(row) for row in rows]},
    )


def inputs(length: int, tokens: int | None, heads: np.ndarray) -> tuple[jax.Array, ...]:
    """q, k, v, slopes, positions, segment ids and d_mixed of one row, of some of the 16 heads."""
    random = np.random.default_rng(0)
    arrays = random.normal(size=(4, 1, length, HEADS, WIDTH)).astype(np.float32)[..., heads, :]
    lengths = np.array([length])
    if tokens:
        lengths = np.clip(random.normal(tokens, tokens / 3, length), 8, None).astype(int)
    segments = np.repeat(np.arange(length, dtype=np.int32) + 1, lengths[:length])[:length]
    positions = np.arange(length, dtype=np.int32) - np.searchsorted(segments, segments)
    return tuple(
        jnp.asarray(x)
        for x in (*arrays[:3], _SLOPES[heads], positions[None], segments[None], arrays[3])
    )


def forward(q, k, v, slopes, positions, segment_ids, d_mixed, *, implementation):
    """The mixed values. Takes `d_mixed` as `both` does, and leaves it."""
    return attention(
        q,
        k,
        v,
        alibi_slopes=slopes,
        positions=positions,
        segment_ids=segment_ids,
        implementation=implementation,
    )


def both(q, k, v, slopes, positions, segment_ids, d_mixed, *, implementation):
    """The mixed values, and the gradients of queries, keys and values."""

    def attend(q, k, v):
        return forward(q, k, v, slopes, positions, segment_ids, None, implementation=implementation)

    mixed, backward = jax.vjp(attend, q, k, v)
    return mixed, *backward(d_mixed)


def agreement(length: int) -> dict[str, dict[str, float]]:
    """Largest differences from the float32 reference, over both kinds of texts.

    At the largest length of two heads, those of the steepest and of the gentlest slope: heads do
    not touch each other, and the reference of all would need 16 GiB.
    """
    heads = np.array([0, HEADS - 1]) if length == LENGTHS[-1] else np.arange(HEADS)
    found = {name: {"heads": len(heads)} for name in ("xla", *OTHERS)}
    for tokens in TEXTS.values():
        arrays = inputs(length, tokens, heads)
        half = [x.astype(jnp.bfloat16) if x.ndim == 4 else x for x in arrays]
        rounded = [x.astype(jnp.float32) if x.ndim == 4 else x for x in half]
        wanted = _run(both, "xla", arrays)
        wanted_rounded = _run(forward, "xla", rounded)
        for name, differences in found.items():
            off = {"bfloat16": _farthest(_run(forward, name, half), wanted_rounded)}
            if name != "xla":
                value, *gradients = _run(both, name, arrays)
                off["value"] = _farthest(value, wanted[0])
                off["gradients"] = max(map(_farthest, gradients, wanted[1:]))
            for key, difference in off.items():
                differences[key] = max(difference, differences.get(key, 0.0))
    return found


def _run(function: Callable, implementation: str, arrays):
    run = jax.jit(functools.partial(function, implementation=implementation))
    return jax.device_get(run(*arrays))


def _farthest(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float32) - wanted.astype(np.float32)).max())


def figures(length: int, implementation: str, differences: dict[str, float]) -> Figures:
    """Memory and time of one implementation at one length, beside its differences."""
    on_cpu: dict[str, Any] = {"forward_bytes": None, "bytes": None}
    if implementation == "fused":  # interpreted, its memory and its time are the interpreter's
        on_cpu["seconds"] = dict.fromkeys(TEXTS, "needs a TPU")
    else:
        on_cpu = _on_cpu(length, implementation)
    return Figures(
        length=length,
        implementation=implementation,
        value=differences.get("value"),
        gradients=differences.get("gradients"),
        bfloat16=differences["bfloat16"],
        heads=int(differences["heads"]),
        chip=chip_memory(length, implementation),
        **on_cpu,
    )


def _on_cpu(length: int, implementation: str) -> dict[str, Any]:
    heads = np.arange(HEADS)
    arrays = inputs(length, None, heads)
    programs = [
        jax.jit(functools.partial(function, implementation=implementation)).lower(*arrays).compile()
        for function in (forward, both)
    ]
    needed = [program.memory_analysis().temp_size_in_bytes for program in programs]
    if needed[1] > LARGEST:
        reason = f"not run: needs {needed[1] / 2**30:.1f} GiB"
        seconds: dict[str, float | str] = dict.fromkeys(TEXTS, reason)
    else:
        seconds = {
            texts: fastest(programs[1], inputs(length, tokens, heads))
            for texts, tokens in TEXTS.items()
        }
    return {"forward_bytes": needed[0], "bytes": needed[1], "seconds": seconds}


def fastest(run: Callable, arrays) -> float:
    """Seconds of the fastest run, of at least three and of as many as fit into three seconds."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 3 and len(times) < 20):
        begin = time.perf_counter()
        jax.block_until_ready(run(*arrays))
        times.append(time.perf_counter() - begin)
    return min(times)


def chip_memory(length: int, implementation: str) -> str:
    """Temporary MiB of forward and backward on one v5e chip, compiled without having one."""
    mesh = _chip()
    place = NamedSharding(mesh, PartitionSpec())
    array = jax.ShapeDtypeStruct((CHIP_ROWS, length, HEADS, WIDTH), jnp.bfloat16, sharding=place)
    tokens = jax.ShapeDtypeStruct((CHIP_ROWS, length), jnp.int32, sharding=place)
    slopes = jax.ShapeDtypeStruct((HEADS,), jnp.float32, sharding=place)
    with jax.set_mesh(mesh):
        program = jax.jit(functools.partial(both, implementation=implementation)).lower(
            array, array, array, slopes, tokens, tokens, array
        )
    try:
        compiled = program.compile()
    except jax.errors.JaxRuntimeError as error:
        wanted = re.search(
            r"HLO temporaries \((\S+)G\) exceeds available HBM \((\S+)G\)", str(error)
        )
        if wanted is None:
            raise
        return "does not fit: {} of {} GiB".format(*wanted.groups())
    return f"{compiled.memory_analysis().temp_size_in_bytes / _MIB:.0f}"


@functools.cache
def _chip() -> jax.sharding.Mesh:
    topology.enable("v5litepod-4")
    chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    return jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=chips[:1])


def _table(rows: list[Figures]) -> str:
    header = (
        "T",
        "implementation",
        "output error",
        "gradient error",
        "bfloat16 error",
        "CPU MiB, forward",
        "CPU MiB, forward and backward",
        "v5e MiB, forward and backward",
        *(f"CPU s, {texts}" for texts in TEXTS),
    )
    return harness.table(header, [_cells(row) for row in rows])


def _cells(row: Figures) -> list[str]:
    mark = "" if row.heads == HEADS else f" ({row.heads} heads)"
    off = [f"{x:.1e}{mark}" if x is not None else "" for x in (row.value, row.gradients)]
    return [
        str(row.length),
        row.implementation,
        *off,
        f"{row.bfloat16:.1e}{mark}",
        *("" if x is None else f"{x / _MIB:.0f}" for x in (row.forward_bytes, row.bytes)),
        row.chip,
        *(f"{x:.2f}" if isinstance(x, float) else x for x in row.seconds.values()),
    ]


if __name__ == "__main__":
    sys.exit(main())
