"""`make bench-loss`: memory, time and agreement of the blockwise and the direct loss.

The vocabulary has 250,880 ids. Memory is the temporary memory of the compiled value and gradients
at the width of BLOOM 560M; these programs are not run. Times are CPU times of all cores, the
minimum of alternating rounds, so that other work on the machine has little effect.
"""

import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import harness
from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.training.loss import cross_entropy

VOCABULARY, WIDTH, LENGTH = 250_880, 1024, 512
BLOCK = TrainConfig.loss_block
TOKENS = (1024, 2048, 4096, 8192)
TIMED_TOKENS, TIMED_BLOCK, ROUNDS = 1024, 512, 2  # several blocks, so that recomputing them shows
COMPARED_TOKENS, COMPARED_BLOCK = 256, 60  # the block divides neither these nor a device's share
_LABELS = {  # in the tables
    "direct": "full logits",
    "direct, optax": "full logits (optax)",
    "blocks, checkpointed": "blockwise, rematerialized",
    "blocks, fused": "blockwise, fused (used here)",
    "one device": "one device",
    "vocabulary in eight": "vocabulary sharded over 8 devices",
    "2 x 2 x 2": "data=2, fsdp=2, tensor=2",
}
MESHES = {"one device": (1, 1, 1), "vocabulary in eight": (1, 1, 8), "2 x 2 x 2": (2, 2, 2)}
MOST_MEMORY, MOST_DIFFERENCE = 0.10, 1e-5

Loss = Callable[..., jax.Array]
Arrays = tuple[Any, Any, Any, Any]  # hidden, table, targets, in_loss


def direct(hidden, table, targets, in_loss):
    """Compute the loss from all logits at once with log_softmax."""
    logs = jax.nn.log_softmax(_logits(hidden, table), axis=-1)
    of_targets = jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    return -jnp.sum(of_targets * in_loss) / jnp.sum(in_loss)


def by_optax(hidden, table, targets, in_loss):
    """Compute the loss from all logits at once with optax, which needs fewer large arrays."""
    losses = optax.softmax_cross_entropy_with_integer_labels(_logits(hidden, table), targets)
    return jnp.sum(losses * in_loss) / jnp.sum(in_loss)


def checkpointed(hidden, table, targets, in_loss, *, block):
    """Compute the loss in blocks with `jax.checkpoint`, which computes the logits twice."""
    blocks = tuple(
        array.reshape(-1, 1, block, *array.shape[2:]) for array in (hidden, targets, in_loss)
    )

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def of_block(hidden, targets, in_loss):
        return by_optax(hidden, table, targets, in_loss) * jnp.sum(in_loss)

    def add(total, inputs):
        return total + of_block(*inputs), None

    return jax.lax.scan(add, 0.0, blocks)[0] / jnp.sum(in_loss)


def blockwise(hidden, table, targets, in_loss, *, block):
    """Compute the loss as training does."""
    total, _ = cross_entropy(hidden, table, targets, in_loss, block)
    return total / jnp.sum(in_loss)


def implementations(block: int) -> dict[str, Loss]:
    """Return the implementations to compare, by their names in the tables."""
    return {
        "direct": direct,
        "direct, optax": by_optax,
        "blocks, checkpointed": functools.partial(checkpointed, block=block),
        "blocks, fused": functools.partial(blockwise, block=block),
    }


def _logits(hidden, table):
    table = table.astype(hidden.dtype)
    return jnp.einsum("BTE,VE->BTV", hidden, table, preferred_element_type=jnp.float32)


def _shapes(tokens: int) -> Arrays:
    rows = (tokens // LENGTH, LENGTH)
    shape = jax.ShapeDtypeStruct
    return (
        shape((*rows, WIDTH), jnp.float32),
        shape((VOCABULARY, WIDTH), jnp.float32),
        shape(rows, jnp.int32),
        shape(rows, jnp.bool_),
    )


def _arrays(rows: int, tokens: int) -> Arrays:
    """Return random states, a table like an untrained BLOOM's, and loss on 90% of the tokens."""
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (rows, tokens // rows)
    return (
        jax.random.normal(keys[0], (*shape, WIDTH)),
        0.02 * jax.random.normal(keys[1], (VOCABULARY, WIDTH)),
        jax.random.randint(keys[2], shape, 0, VOCABULARY),
        jax.random.uniform(keys[3], shape) < 0.9,
    )


def _compiled(loss: Loss, arrays: Arrays):
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(*arrays).compile()


def memory() -> dict[str, dict[int, int]]:
    """Return the bytes of temporary memory by implementation and number of tokens."""

    def temporary(loss, tokens):
        return _compiled(loss, _shapes(tokens)).memory_analysis().temp_size_in_bytes

    return {
        name: {tokens: temporary(loss, tokens) for tokens in TOKENS}
        for name, loss in implementations(BLOCK).items()
    }


def seconds() -> dict[str, float]:
    """Return the minimum CPU time of value and gradients by implementation."""
    arrays = _arrays(1, TIMED_TOKENS)
    compiled = {
        name: _compiled(loss, arrays) for name, loss in implementations(TIMED_BLOCK).items()
    }
    least = dict.fromkeys(compiled, math.inf)
    for _ in range(ROUNDS):
        for name, run in compiled.items():
            start = time.process_time()
            jax.block_until_ready(run(*arrays))
            least[name] = min(least[name], time.process_time() - start)
    return least


def differences() -> dict[str, dict[str, float]]:
    """Return differences of the blockwise from the direct loss by mesh, for value and gradients.

    The difference of each row is relative to the norm of the row.
    """
    arrays = _arrays(8, COMPARED_TOKENS)
    expected = _flat(_compiled(direct, arrays)(*arrays))
    loss, by_mesh = functools.partial(blockwise, block=COMPARED_BLOCK), {}
    for name, sizes in MESHES.items():
        mesh = sharding.make_mesh(MeshConfig(*sizes), jax.devices("cpu")[: math.prod(sizes)])
        rows, cut = sharding.batch_sharding(mesh), PartitionSpec("tensor", "fsdp")
        placed = jax.device_put(arrays, (rows, NamedSharding(mesh, cut), rows, rows))
        with jax.set_mesh(mesh):
            results = _flat(_compiled(loss, placed)(*placed))
        parts = zip(("value", "of states", "of table"), results, expected, strict=True)
        by_mesh[name] = {part: _difference(one, other) for part, one, other in parts}
    return by_mesh


def _flat(results) -> list[np.ndarray]:
    value, (of_hidden, of_table) = jax.device_get(results)
    return [value.reshape(1, 1), of_hidden.reshape(-1, WIDTH), of_table]


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the maximum over rows of the relative error, which is 0 for equal rows."""
    error, size = (np.linalg.norm(rows, axis=1) for rows in (actual - expected, expected))
    return float(np.max(error / np.where(error == 0, 1, size)))


def _direct_bytes(bytes_held) -> float:
    """Return the bytes of the direct implementation with the least memory, for the most tokens."""
    return min(held[TOKENS[-1]] for name, held in bytes_held.items() if name.startswith("direct"))


def tables(bytes_held, least, apart) -> str:
    """Return the results of `memory`, `seconds` and `differences` as two Markdown tables."""
    base = _direct_bytes(bytes_held)
    rows = [
        [
            _LABELS[name],
            *(f"{sizes[tokens] / 1e9:.2f}" for tokens in TOKENS),
            f"{sizes[TOKENS[-1]] / base:.1%}",
            f"{least[name]:.1f}",
        ]
        for name, sizes in bytes_held.items()
    ]
    columns = [f"{tokens:,} tokens, GB" for tokens in TOKENS]
    timed = f"{TIMED_TOKENS:,} tokens, core seconds"
    first = harness.table(["loss", *columns, "relative to full logits (optax)", timed], rows)
    cells = [
        [_LABELS[name], *(f"{value:.1e}" for value in differences.values())]
        for name, differences in apart.items()
    ]
    second = harness.table(["mesh", "loss", "hidden gradient", "embedding gradient"], cells)
    return f"{first}\n{second}"


def main() -> int:
    """Print the tables and put them into the docs; return the exit status."""
    jax.config.update("jax_num_cpu_devices", 8)
    print(f"vocabulary {VOCABULARY:,}, width {WIDTH}, float32")
    print(f"blocks of {BLOCK:,} tokens for memory, {TIMED_BLOCK:,} for time\n")
    bytes_held, least, apart = memory(), seconds(), differences()
    text = tables(bytes_held, least, apart)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "loss", text + harness.conditions())
    share = bytes_held["blocks, fused"][TOKENS[-1]] / _direct_bytes(bytes_held)
    largest = max(max(by_part.values()) for by_part in apart.values())
    details = {"bytes": bytes_held, "seconds": least, "differences": apart}
    return harness.finish(
        "loss",
        f"{share:.1%} of the direct memory at {TOKENS[-1]:,} tokens, difference {largest:.0e}",
        f"under {MOST_MEMORY:.0%}, {MOST_DIFFERENCE:.0e}",
        share < MOST_MEMORY and largest <= MOST_DIFFERENCE,
        {**details, "block": BLOCK, "timed_block": TIMED_BLOCK},
    )


if __name__ == "__main__":
    sys.exit(main())
