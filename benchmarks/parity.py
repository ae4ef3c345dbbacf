"""`make bench-parity`: differences from transformers by module, for docs/reference/results.md.

Each JAX module gets the input of the transformers module in a forward pass over random tokens, with
the same weights, and the outputs are compared in float32. Outputs in bfloat16 are compared with our
own in float32, because transformers' ALiBi biases are wrong by several units in bfloat16.
"""

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from benchmarks import harness, pairs
from benchmarks.pairs import Batch, Pair
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models import alibi
from teacherlm_jax.models.attention import attention
from teacherlm_jax.models.block import Block

TOLERANCE = 1e-4  # absolute, for hidden states and logits in float32
GRADIENT_TOLERANCE = 1e-3  # norm of the difference over the norm, for each parameter's gradient
ROUNDING = 2.0**-9  # relative rounding error of bfloat16, which has eight significant bits

_COMMON = {"vocab_size": 4096, "dtype": "float32"}
_350M = {"max_positions": 2048, "embedding_width": 512, "norm": "after"}
CASES = {  # shape, rows, tokens per row
    "BLOOM, 16 heads": (ModelConfig("bloom", 4, 1024, 16, **_COMMON), 2, 256),
    "BLOOM, 12 heads": (ModelConfig("bloom", 4, 768, 12, **_COMMON), 2, 256),
    "BLOOM, 12 heads, 2,048 tokens": (ModelConfig("bloom", 2, 768, 12, **_COMMON), 1, 2048),
    "OPT": (ModelConfig("opt", 4, 768, 12, max_positions=2048, **_COMMON), 2, 256),
    "OPT, as 350m": (ModelConfig("opt", 4, 1024, 16, **_350M, **_COMMON), 2, 256),
}


HEADER = (
    "model",
    "one module",
    "final hidden states",
    "logits",
    "gradients, relative",
    "one module, bfloat16",
    "logits, bfloat16",
    "logits of transformers, bfloat16",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        module: name of the compared module or output.
        float32: largest absolute difference between JAX and transformers in float32; for gradients,
            the largest relative one.
        bfloat16: root mean square of the difference between JAX in bfloat16 and in float32, over
            that of float32; None for gradients.
        theirs: the same figure for transformers; None for single modules and gradients.
    """

    module: str
    float32: float
    bfloat16: float | None
    theirs: float | None = None


def bfloat16_bound(layers: int) -> float:
    """Return the allowed relative error of bfloat16 after `layers` blocks (1: a single module).

    A block rounds about ten times along its residual stream (two norms, six projections and sums,
    attention weights, activation). Each relative error is at most 2^-9 in a random direction, so
    the squares of the errors add up: 2^-9 sqrt(10 L). The bound is twice that, for sums with
    cancellation.
    """
    return 2 * ROUNDING * (10 * layers) ** 0.5


def random_batch(config: ModelConfig, rows: int, length: int) -> Batch:
    """Return a batch of random tokens in which every row is one text."""
    tokens = np.random.default_rng(0).integers(2, config.vocab_size, (rows, length), np.int32)
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    return {"tokens": tokens, "positions": positions, "segment_ids": np.ones_like(tokens)}


def compare(pair: Pair, batch: Batch) -> Iterator[Row]:
    """Compare the modules of a middle layer, then the whole model, on one batch."""
    seen = _observed(pair.reference, batch["tokens"])
    yield from _modules(pair, batch, seen)
    yield from _whole(pair, batch)


def _modules(pair: Pair, batch: Batch, seen: "Seen") -> Iterator[Row]:
    bloom, layer = pair.config.family == "bloom", pair.config.layers // 2
    block, at = _layer(pair.model, layer), f"{'h' if bloom else 'layers'}.{layer}."
    names = pairs.block_names(pair.config)
    for name in ("attention_norm", "mlp_norm", "up", "down"):
        inputs, expected = seen(at + names[name])
        yield _row(name.replace("_", " "), getattr(block, name), expected, inputs)
    heads = _heads(pair.config, seen, at)
    inputs = seen(at + ("self_attention.query_key_value" if bloom else "self_attn.q_proj"))[0]
    yield _row("query, key, value", block.query_key_value, heads, inputs)
    mixed, expected = seen(at + names["attention_output"])
    mixed = mixed.reshape(*mixed.shape[:2], pair.config.heads, -1)
    yield _row("attention", _attention(pair.config, batch), mixed, *np.split(heads, 3, -1))
    yield _row("attention output", block.attention_output, expected, mixed)
    inputs, expected = seen(at.removesuffix("."))
    attend = _attention(pair.config, batch)
    yield _row("block", lambda x: block(x, lambda *qkv: (attend(*qkv), None))[0], expected, inputs)


def _whole(pair: Pair, batch: Batch) -> Iterator[Row]:
    arrays = [jnp.asarray(batch[name]) for name in ("tokens", "positions", "segment_ids")]
    expected = _torch_outputs(pair.reference, batch["tokens"])
    expected_half = _torch_outputs(copy.deepcopy(pair.reference).bfloat16(), batch["tokens"])
    actual, actual_half = (jax_outputs(pair.in_dtype(d), *arrays) for d in ("float32", "bfloat16"))
    for name in expected:
        yield Row(
            name,
            float(np.abs(actual[name] - expected[name]).max()),
            _relative(actual_half[name], actual[name]),
            _relative(expected_half[name], expected[name]),
        )
    worst = max(jax.tree.leaves(jax.tree.map(_relative, *pair.gradients(batch))))
    yield Row("gradients, relative", worst, None)


def jax_outputs(model: nnx.Module, *batch: jax.Array) -> dict[str, np.ndarray]:
    """Return the inputs of all layers, the input of the head, and the logits, in float32."""

    @jax.jit
    def run(state, *batch):
        merged = nnx.merge(graph, state)
        hidden = merged.hidden(*batch)
        return merged.hidden_states(*batch)[:-1], hidden, merged.logits(hidden)

    graph, state = nnx.split(model)
    states, hidden, logits = (np.asarray(array, np.float32) for array in run(state, *batch))
    return {
        "hidden states, all layers": states,
        "hidden states, for the head": hidden,
        "logits": logits,
    }


def _torch_outputs(model: torch.nn.Module, tokens: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad():
        inputs = torch.from_numpy(tokens).long()
        out = model(inputs, output_hidden_states=True)
        last = model.base_model(inputs).last_hidden_state
    # The last entry is the input of the head if it is as wide as the others; it is not compared.
    states = torch.stack(out.hidden_states[:-1])
    return {
        "hidden states, all layers": states.float().numpy(),
        "hidden states, for the head": last.float().numpy(),
        "logits": out.logits.float().numpy(),
    }


Seen = Callable[[str], tuple[np.ndarray, np.ndarray]]


def _observed(model: torch.nn.Module, tokens: np.ndarray) -> Seen:
    """Return a lookup of the first input and the output of each module in a forward pass."""
    recorded: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    decoder = model.transformer if hasattr(model, "transformer") else model.model.decoder

    def record(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            if inputs and isinstance(output, torch.Tensor):
                pair = (inputs[0], output)  # OPT's MLP flattens rows and positions
                recorded[name] = tuple(x.numpy().reshape(*tokens.shape, -1) for x in pair)

        return hook

    hooks = [module.register_forward_hook(record(name)) for name, module in decoder.named_modules()]
    with torch.no_grad():
        model(torch.from_numpy(tokens).long())
    for hook in hooks:
        hook.remove()
    return lambda name: recorded[name]


def _heads(config: ModelConfig, seen: Seen, at: str) -> np.ndarray:
    """Return transformers' queries, keys and values in our layout, [B T N 3H]."""
    if config.family == "bloom":
        fused = seen(f"{at}self_attention.query_key_value")[1]
        return fused.reshape(*fused.shape[:2], config.heads, -1)
    three = [seen(f"{at}self_attn.{part}_proj")[1] for part in "qkv"]
    return np.concatenate([x.reshape(*x.shape[:2], config.heads, -1) for x in three], -1)


def _attention(config: ModelConfig, batch: Batch) -> Callable:
    slopes = jnp.asarray(alibi.slopes(config.heads)) if config.family == "bloom" else None

    def run(q, k, v):
        return attention(
            q,
            k,
            v,
            alibi_slopes=slopes,
            positions=jnp.asarray(batch["positions"]),
            segment_ids=jnp.asarray(batch["segment_ids"]),
        )

    return run


def _layer(model: nnx.Module, layer: int) -> Block:
    graph, state = nnx.split(model.blocks)
    return nnx.merge(graph, jax.tree.map(lambda stacked: stacked[layer], state))


def _row(module: str, function: Callable, expected: np.ndarray, *inputs: np.ndarray) -> Row:
    exact = np.asarray(function(*map(jnp.asarray, inputs)))
    half = np.asarray(function(*(jnp.asarray(x, jnp.bfloat16) for x in inputs)), np.float32)
    return Row(module, float(np.abs(exact - expected).max()), _relative(half, exact))


def _relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the root mean square of the difference over that of `expected`."""
    return float(np.sqrt(np.mean(np.square(actual - expected)) / np.mean(np.square(expected))))


def within(row: Row, layers: int) -> bool:
    """Return whether a row is within the bounds stated in docs/reference/results.md."""
    if row.bfloat16 is None:
        return row.float32 <= GRADIENT_TOLERANCE
    whole_model = row.theirs is not None
    return row.float32 <= TOLERANCE and row.bfloat16 <= bfloat16_bound(layers if whole_model else 1)


def main() -> int:
    """Compare all cases; print the table and write it to docs/reference/results.md."""
    details: dict[str, list[Mapping[str, object]]] = {}
    lines, met = [], True
    for shape, (config, count, length) in CASES.items():
        rows = list(compare(pairs.make(config), random_batch(config, count, length)))
        details[shape] = [dataclasses.asdict(row) for row in rows]
        met = met and all(within(row, config.layers) for row in rows)
        lines.append((shape, *map(_cell, worst(rows))))
    text = harness.table(HEADER, lines)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "parity", text + harness.conditions())
    largest = max(row["float32"] for rows in details.values() for row in rows)
    goal = f"{TOLERANCE:.0e}, gradients {GRADIENT_TOLERANCE:.0e}, bfloat16 within its bound"
    return harness.finish("parity", f"{largest:.1e} at most", goal, met, {"rows": details})


def worst(rows: Sequence[Row]) -> tuple[float, ...]:
    """Return the cells of HEADER for one model: the largest differences over its rows."""
    modules = [row for row in rows if row.bfloat16 is not None and row.theirs is None]
    by_name = {row.module: row for row in rows}
    logits = by_name["logits"]
    return (
        max(row.float32 for row in modules),
        by_name["hidden states, for the head"].float32,
        logits.float32,
        by_name["gradients, relative"].float32,
        max(row.bfloat16 for row in modules),
        logits.bfloat16,
        logits.theirs,
    )


def _cell(value: float) -> str:
    return f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
