"""`make bench-compile`: compile time of the training step for a deep and for a shallow model.

Both are BLOOM models of the same width with all parts of a real step: remat, blockwise loss, AdamW,
and a mesh of all devices. They are compiled alternately, without a compilation cache.
"""

import dataclasses
import statistics
import sys
import time

import jax

from benchmarks import harness
from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.training.setup import compile_for, make_model_spec

SHALLOW, DEEP, ROUNDS = 2, 24, 5
GOAL = 1.5  # largest ratio of the compile times
LENGTH = 256


def seconds(layers: int) -> float:
    """Return the time from a config to a compiled step."""
    model = registry.shape("bloom-560m", layers=layers, width=256, heads=4, remat="full")
    config = TrainConfig(model=dataclasses.replace(model, vocab_size=8192), batch_size=8)
    mesh = sharding.make_mesh(MeshConfig(data=1, fsdp=-1))
    jax.clear_caches()
    start = time.perf_counter()
    with jax.set_mesh(mesh):
        spec = make_model_spec(config.model, mesh, config.optimizer, config.steps)
        compile_for(config, spec, mesh, LENGTH)
    return time.perf_counter() - start


def main() -> int:
    """Compile both models several times; print and save the times; return the exit status."""
    jax.config.update("jax_enable_compilation_cache", False)
    seconds(SHALLOW)  # warm-up: the first compilation of a process takes longer
    spent = {SHALLOW: [], DEEP: []}
    for _ in range(ROUNDS):
        for layers, times in spent.items():
            times.append(seconds(layers))
    ratio = statistics.median(
        deep / shallow for shallow, deep in zip(spent[SHALLOW], spent[DEEP], strict=True)
    )
    rows = [(str(layers), f"{statistics.median(times):.2f}") for layers, times in spent.items()]
    text = harness.table(("layers", "seconds"), rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "compile", text + harness.conditions())
    return harness.finish(
        "compile",
        f"{DEEP} layers take {ratio:.2f} times as long as {SHALLOW}",
        f"{GOAL} times",
        ratio <= GOAL,
        {"seconds": {str(layers): times for layers, times in spent.items()}},
    )


if __name__ == "__main__":
    sys.exit(main())
