"""`make bench-annotate`: speed of the slot engine beside transformers, on the same prompts.

A model of bloom-560m's shape with random weights writes three explanations for each sample, in
float32 on this machine, with the sampling of the TeacherLM authors' script. Prompts of a sample
share their first tokens, as those of `annotate` do. Random weights do not end a text, so each text
has a length of its own, around the mean of its kind in the paper (arXiv 2310.19019), and ends there
in all three ways:

- the authors' way: transformers with one text at a time;
- transformers in batches of 8, of 32 and of as many texts as the engine has slots; a batch ends
  with its longest text;
- the engine of this project.

Tokens after the end of a text do not count. The machine's peak is a product of large matrices.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks import authors_way, harness, own_lengths
from benchmarks.authors_way import by_transformers
from benchmarks.own_lengths import new_tokens, requests
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.models import registry

SHAPE = "bloom-560m"
SAMPLES = 256  # of the engine; the authors' way gets the first ones
SLOTS = 96
BATCHES = (8, 32, SLOTS)
GOAL_ALONE, GOAL_BATCH = 12.0, 3.0


def by_the_engine(wanted: Sequence[GenerationRequest]) -> tuple[float, float]:
    """Return the tokens per second of the engine, and the share of its slots that were busy.

    The time includes compiling. At the end of the job, slots stay free.
    """
    config = registry.shape(SHAPE, dtype="float32")
    model = registry.build(config, nnx.Rngs(0))
    engine = own_lengths.slot_engine(model, wanted, SLOTS, eos_id=2, say=print)
    began = time.monotonic()
    tokens = sum(len(completion.tokens) for completion in engine.generate(wanted))
    return tokens / (time.monotonic() - began), engine.counts.busy


def matmul_peak() -> float:
    """Return FLOPs per second of a product of large float32 matrices on all cores."""
    size = 3072
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))

    def seconds() -> Iterator[float]:
        for _ in range(5):
            began = time.monotonic()
            jax.block_until_ready(product(a))
            yield time.monotonic() - began

    return 2 * size**3 / min(seconds())


class Way(NamedTuple):
    """One way to generate, measured."""

    name: str
    texts: int
    speed: float  # tokens per second


def table(ways: Sequence[Way], flops: int, peak: float) -> str:
    """Return the table of all ways beside the first; `flops` is the FLOPs of one token."""
    header = ("way", "texts", "tokens/s", "times as fast as one at a time", "of the matrix peak")
    rows = []
    for way in ways:
        ratio, share = way.speed / ways[0].speed, flops * way.speed / peak
        rows.append([way.name, str(way.texts), f"{way.speed:.1f}", f"{ratio:.1f}", f"{share:.0%}"])
    return harness.table(header, rows)


def main() -> int:
    """Measure, and return the exit status."""
    wanted, few = requests(SAMPLES), requests(authors_way.ALONE)
    ours, busy = by_the_engine(wanted)
    print(f"engine: {ours:.1f} tokens/s, {busy:.0%} of slots busy", flush=True)
    jax.clear_caches()
    model = authors_way.random_model(SHAPE)
    flops = 2 * sum(parameter.numel() for parameter in model.parameters())
    alone = by_transformers(model, few, 1)
    batches = []
    for size in BATCHES:
        part = wanted[: max(size, 16)]
        speed = by_transformers(model, part, size)
        print(f"transformers, batch of {size}: {speed:.1f} tokens/s", flush=True)
        batches.append(Way(f"transformers, batch of {size}", len(part), speed))
    best = max(batches, key=lambda way: way.speed)
    peak = matmul_peak()
    ways = [
        Way("transformers, one text at a time", len(few), alone),
        *batches,
        Way(f"engine, {SLOTS} slots", len(wanted), ours),
    ]
    text = table(ways, flops, peak) + (
        f"\nA text has {new_tokens(wanted) / len(wanted):.0f} tokens on average. The engine's time "
        f"includes compiling. On average {busy:.0%} of the slots were busy, because slots stay "
        f"free at the end of a job. Peak: {peak / 1e9:.0f} GFLOP/s.\n"
    )
    print(text)
    harness.put_into(
        harness.RESULTS_PAGE, "annotate", text + harness.conditions("torch", "transformers")
    )
    times = (ours / alone, ours / best.speed)
    return harness.finish(
        "annotate",
        f"{times[0]:.1f} times as fast as one text at a time, {times[1]:.1f} times as fast as "
        "batches",
        f"{GOAL_ALONE:g} and {GOAL_BATCH:g}",
        times[0] >= GOAL_ALONE and times[1] >= GOAL_BATCH,
        {
            "ways": [way._asdict() for way in ways],
            "busy": busy,
            "peak_flops": peak,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
