"""Differences from transformers, module by module; the table of docs/reference/results.md.

Every module of ours gets the input that transformers' module got in a forward pass over random
tokens, with the same weights, and its output is held against theirs in float32. bfloat16 is held
against our own float32, since transformers' ALiBi is itself off by whole units in bfloat16.
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

TOLERANCE = 1e-4  # float32, of hidden states and logits
GRADIENT_TOLERANCE = 1e-3  # norm of the difference over the norm, of each parameter's gradient
ROUNDING = 2.0**-9  # of bfloat16, relative: half a unit in the last of its eight binary places

_COMMON = {"vocab_size": 4096, "dtype": "float32"}
_350M = {"max_positions": 2048, "embedding_width": 512, "norm": "after"}
CASES = {  # shape, rows, tokens of a row
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
        module: what was compared.
        float32: largest absolute difference between ours and theirs.
        bfloat16: root mean square of ours in bfloat16 minus ours in float32, over that of float32.
        theirs: the same of transformers. Both are None where it was not asked.
    """

    module: str
    float32: float
    bfloat16: float | None
    theirs: float | None = None


def bfloat16_bound(layers: int) -> float:
    """What bfloat16 may differ from float32 after `layers` blocks (1 for a single module).

    A block rounds some ten times on the way of its residual stream (two norms, six projections and
    sums, attention's weights, the activation). Each rounding is off by at most 2^-9 and in no
    preferred direction, so that errors add as squares: 2^-9 sqrt(10 L). Twice that is allowed, for
    sums of which a part cancels.
    """
    return 2 * ROUNDING * (10 * layers) ** 0.5


def random_batch(config: ModelConfig, rows: int, length: int) -> Batch:
    """Rows of one text each."""
    tokens = np.random.default_rng(0).integers(2, config.vocab_size, (rows, length), np.int32)
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    return {"tokens": tokens, "positions": positions, "segment_ids": np.ones_like(tokens)}


def compare(pair: Pair, batch: Batch) -> Iterator[Row]:
    """Every module of a middle layer, then the whole model, on one batch."""
    seen = _observed(pair.theirs, batch["tokens"])
    yield from _modules(pair, batch, seen)
    yield from _whole(pair, batch)


def _modules(pair: Pair, batch: Batch, seen: "Seen") -> Iterator[Row]:
    bloom, layer = pair.config.family == "bloom", pair.config.layers // 2
    block, at = _layer(pair.ours, layer), f"{'h' if bloom else 'layers'}.{layer}."
    names = pairs.block_names(pair.config)
    for ours in ("attention_norm", "mlp_norm", "up", "down"):
        given, wanted = seen(at + names[ours])
        yield _row(ours.replace("_", " "), getattr(block, ours), wanted, given)
    heads = _heads(pair.config, seen, at)
    given = seen(at + ("self_attention.query_key_value" if bloom else "self_attn.q_proj"))[0]
    yield _row("query, key, value", block.query_key_value, heads, given)
    mixed, wanted = seen(at + names["attention_output"])
    mixed = mixed.reshape(*mixed.shape[:2], pair.config.heads, -1)
    yield _row("attention", _attention(pair.config, batch), mixed, *np.split(heads, 3, -1))
    yield _row("attention output", block.attention_output, wanted, mixed)
    given, wanted = seen(at.removesuffix("."))
    slow = _attention(pair.config, batch)
    yield _row("block", lambda x: block(x, lambda *qkv: (slow(*qkv), None))[0], wanted, given)


def _whole(pair: Pair, batch: Batch) -> Iterator[Row]:
    arrays = [jnp.asarray(batch[name]) for name in ("tokens", "positions", "segment_ids")]
    wanted = _their_outputs(pair.theirs, batch["tokens"])
    half = _their_outputs(copy.deepcopy(pair.theirs).bfloat16(), batch["tokens"])
    found, ours_half = (our_outputs(pair.in_dtype(d), *arrays) for d in ("float32", "bfloat16"))
    for name in wanted:
        yield Row(
            name,
            float(np.abs(found[name] - wanted[name]).max()),
            _relative(ours_half[name], found[name]),
            _relative(half[name], wanted[name]),
        )
    ours, theirs = pair.gradients(batch)
    worst = max(jax.tree.leaves(jax.tree.map(_relative, ours, theirs)))
    yield Row("gradients, relative", worst, None)


def our_outputs(model: nnx.Module, *batch: jax.Array) -> dict[str, np.ndarray]:
    """Hidden states of all layers and after the last one, and logits; float32 arrays."""

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


def _their_outputs(model: torch.nn.Module, tokens: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad():
        given = torch.from_numpy(tokens).long()
        out = model(given, output_hidden_states=True)
        last = model.base_model(given).last_hidden_state
    # The last entry of BLOOM and OPT is what the head reads, where that is as wide as the others.
    states = torch.stack(out.hidden_states[:-1])
    return {
        "hidden states, all layers": states.float().numpy(),
        "hidden states, for the head": last.float().numpy(),
        "logits": out.logits.float().numpy(),
    }


Seen = Callable[[str], tuple[np.ndarray, np.ndarray]]


def _observed(model: torch.nn.Module, tokens: np.ndarray) -> Seen:
    """What every module got first and gave in a forward pass, by its name in the decoder."""
    kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    decoder = model.transformer if hasattr(model, "transformer") else model.model.decoder

    def keep(name):
        def hook(module, given, gave):
            gave = gave[0] if isinstance(gave, tuple) else gave
            if given and isinstance(gave, torch.Tensor):  # OPT joins rows and places for its MLP
                kept[name] = tuple(x.numpy().reshape(*tokens.shape, -1) for x in (given[0], gave))

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in decoder.named_modules()]
    with torch.no_grad():
        model(torch.from_numpy(tokens).long())
    for hook in hooks:
        hook.remove()
    return lambda name: kept[name]


def _heads(config: ModelConfig, seen: Seen, at: str) -> np.ndarray:
    """Their queries, keys and values as we hold them, [B T N 3H]."""
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


def _row(module: str, ours: Callable, wanted: np.ndarray, *given: np.ndarray) -> Row:
    exact = np.asarray(ours(*map(jnp.asarray, given)))
    half = np.asarray(ours(*(jnp.asarray(x, jnp.bfloat16) for x in given)), np.float32)
    return Row(module, float(np.abs(exact - wanted).max()), _relative(half, exact))


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference over that of `wanted`."""
    return float(np.sqrt(np.mean(np.square(found - wanted)) / np.mean(np.square(wanted))))


def within(row: Row, layers: int) -> bool:
    """Whether a row keeps to what docs/reference/results.md promises."""
    if row.bfloat16 is None:
        return row.float32 <= GRADIENT_TOLERANCE
    whole = row.theirs is not None
    return row.float32 <= TOLERANCE and row.bfloat16 <= bfloat16_bound(layers if whole else 1)


def main() -> int:
    """Compares, prints, and puts the table into the page."""
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
    """The cells of HEADER for the rows of one model; the JSON file has every row."""
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
