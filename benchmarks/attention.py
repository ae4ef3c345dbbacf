"""`make bench-attention`: agreement, memory and time of attention for T = 512 to 8192.

16 heads of width 64, as in bloom-560m. Writes the table of docs/reference/results.md. It takes
about five minutes on two cores, most of it for the fused kernel, which is interpreted on a CPU.
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
AGREEMENT = 1e-5  # goal: largest difference of blockwise from the reference, float32
GROWTH = 2.1  # goal: growth of blockwise memory with gradients from 4096 to 8192 tokens
LARGEST = 8 * 2**30  # bytes of temporary memory up to which a program is run
CHIP_ROWS = 8  # rows per batch on the chip, too many for its on-chip memory

_SLOPES = alibi.slopes(HEADS)
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Figures:
    """Measurements of one implementation at one length.

    Attributes:
        value, gradients: largest difference from the reference in float32; None for the reference.
        bfloat16: largest difference of the bfloat16 value from the float32 reference.
        heads: number of heads in these three comparisons.
        forward_bytes: temporary memory of the forward pass on a CPU, for one float32 row; None for
            the kernel that needs a TPU.
        bytes: the same for forward and backward pass.
        chip: temporary MiB of forward and backward pass on a v5e chip, for CHIP_ROWS bfloat16
            rows, or the compiler's message that they do not fit.
        seconds: time of forward and backward pass on the CPU by texts of the row, or the reason
            why it was not run.
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
    """Measure everything; print the table and write it to docs/reference/results.md."""
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
        f"blockwise differs by {worst:.1e}; memory grows {growth:.2f} times from 4096 to 8192",
        f"{AGREEMENT:.0e}; {GROWTH} times",
        worst <= AGREEMENT and growth <= GROWTH,
        {"rows": [dataclasses.asdict(row) for row in rows]},
    )


def inputs(length: int, tokens: int | None, heads: np.ndarray) -> tuple[jax.Array, ...]:
    """Return q, k, v, slopes, positions, segment ids and d_mixed of one row, for some heads."""
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
    """Return the mixed values; `d_mixed` is ignored, and taken so that `both` has the same form."""
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
    """Return the mixed values and the gradients of queries, keys and values."""

    def attend(q, k, v):
        return forward(q, k, v, slopes, positions, segment_ids, None, implementation=implementation)

    mixed, backward = jax.vjp(attend, q, k, v)
    return mixed, *backward(d_mixed)


def agreement(length: int) -> dict[str, dict[str, float]]:
    """Return the largest differences from the float32 reference, over both kinds of texts.

    At the largest length, only the heads with the steepest and the gentlest slope are compared:
    heads are independent, and the reference for all of them would need 16 GiB.
    """
    heads = np.array([0, HEADS - 1]) if length == LENGTHS[-1] else np.arange(HEADS)
    by_name = {name: {"heads": len(heads)} for name in ("xla", *OTHERS)}
    for tokens in TEXTS.values():
        arrays = inputs(length, tokens, heads)
        half = [x.astype(jnp.bfloat16) if x.ndim == 4 else x for x in arrays]
        rounded = [x.astype(jnp.float32) if x.ndim == 4 else x for x in half]
        expected = _run(both, "xla", arrays)
        expected_rounded = _run(forward, "xla", rounded)
        for name, differences in by_name.items():
            errors = {"bfloat16": _largest_error(_run(forward, name, half), expected_rounded)}
            if name != "xla":
                value, *gradients = _run(both, name, arrays)
                errors["value"] = _largest_error(value, expected[0])
                errors["gradients"] = max(map(_largest_error, gradients, expected[1:]))
            for key, error in errors.items():
                differences[key] = max(error, differences.get(key, 0.0))
    return by_name


def _run(function: Callable, implementation: str, arrays):
    run = jax.jit(functools.partial(function, implementation=implementation))
    return jax.device_get(run(*arrays))


def _largest_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual.astype(np.float32) - expected.astype(np.float32)).max())


def figures(length: int, implementation: str, differences: dict[str, float]) -> Figures:
    """Return differences, memory and time of one implementation at one length."""
    on_cpu: dict[str, Any] = {"forward_bytes": None, "bytes": None}
    if implementation == "fused":  # memory and time would be those of the interpreter
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
    """Return the seconds of the fastest of at least three runs, or of all within three seconds."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 3 and len(times) < 20):
        begin = time.perf_counter()
        jax.block_until_ready(run(*arrays))
        times.append(time.perf_counter() - begin)
    return min(times)


def chip_memory(length: int, implementation: str) -> str:
    """Return the temporary MiB of forward and backward pass, compiled for one absent v5e chip."""
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
        match = re.search(
            r"HLO temporaries \((\S+)G\) exceeds available HBM \((\S+)G\)", str(error)
        )
        if match is None:
            raise
        return "does not fit: {} of {} GiB".format(*match.groups())
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
