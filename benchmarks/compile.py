"""How long the training step takes to compile for a deep model, beside a shallow one.

Both are BLOOM of one width, with every part of a real step: remat, blockwise loss, AdamW, and a
mesh of the devices that there are. They take turns, and nothing is kept between compilations.
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
GOAL = 1.5  # times as long, at most
LENGTH = 256


def seconds(layers: int) -> float:
    """From a config to a compiled step."""
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
    """Prints the times; the status says whether the goal is met."""
    jax.config.update("jax_enable_compilation_cache", False)
    seconds(SHALLOW)  # what only the first compilation of a process pays
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
