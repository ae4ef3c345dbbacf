"""Parts of `benchmarks/gpu.py` about training: the step, attention, and the loss."""

import dataclasses
import functools
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import gpu_cases, loss
from benchmarks.gpu_cases import Card, Case, Figures
from teacherlm_jax import sharding
from teacherlm_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from teacherlm_jax.models import alibi, registry
from teacherlm_jax.models.attention import attention
from teacherlm_jax.training.flops import model_flops
from teacherlm_jax.training.optimizer import make_optimizer
from teacherlm_jax.training.state import abstract_state, initial_state
from teacherlm_jax.training.step import batch_shapes, compile_step

LENGTH, TEXT = 2048, 512  # tokens of a packed row, and of each text in it


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step to measure.

    Attributes:
        model: name of the published shape.
        rows: packed rows of the batch.
        changes: fields of the config that differ from the published shape.
        note: how the model differs from what `train` would use by default, for the case's name.
    """

    model: str
    rows: int
    changes: dict[str, int | str]
    note: str = ""

    @property
    def config(self) -> ModelConfig:
        """Return the model."""
        return registry.shape(self.model, **{"dtype": "bfloat16", **self.changes})

    @property
    def name(self) -> str:
        """Return the name of the case."""
        config = self.config
        note = f" ({self.note})" if self.note else ""
        return f"{self.model}{note}, {self.rows} rows, {config.attention}, remat {config.remat}"


_BLOCKWISE = {"attention": "blockwise", "remat": "none"}
_DOTS = {**_BLOCKWISE, "remat": "dots"}
# With AdamW in float32, bloom-7b1 needs 113 GB before activations. So it is measured with fewer
# layers, whose FLOPs are those of the smaller model, and with all parts of the state in bfloat16.
STEPS = (
    Step("bloom-1b1", 8, _BLOCKWISE),
    Step("bloom-7b1", 4, {**_DOTS, "layers": 8}, "8 of 30 layers"),
    Step("bloom-1b1", 16, _DOTS),
    Step(
        *("bloom-7b1", 2, {**_BLOCKWISE, "remat": "full", "param_dtype": "bfloat16"}),
        "parameters and AdamW in bfloat16",
    ),
    Step("bloom-1b1", 4, _BLOCKWISE),
    Step("bloom-1b1", 8, {"attention": "xla", "remat": "dots"}),
)
TINY_STEPS = (Step("bloom-tiny", 2, _DOTS),)


def train_steps(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield a case for each training step: its time, and its model FLOPs over the card's peak."""
    length = 64 if tiny else LENGTH
    for step in TINY_STEPS if tiny else STEPS:
        yield Case(step.name, functools.partial(_train_step, step, length, card))


def _train_step(step: Step, length: int, card: Card) -> Figures:
    config, text, mesh = step.config, length * TEXT // LENGTH, gpu_cases.mesh()
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-5), 1_000_000)
    graph, parameters = registry.abstract(config, mesh)
    abstract = abstract_state(parameters, optimizer, mesh)
    with jax.set_mesh(mesh):
        began = time.perf_counter()
        shapes = batch_shapes(step.rows, length, mesh)
        update = compile_step(graph, optimizer, abstract, shapes, mesh, TrainConfig.loss_block)
        compiled = time.perf_counter() - began
        state = initial_state(functools.partial(registry.build, config), optimizer, abstract, 0)
        batch = jax.device_put(
            packed_rows(step.rows, length, text, config.vocab_size), sharding.batch_sharding(mesh)
        )

        def call():
            nonlocal state
            state, metrics = update(state, batch)
            return metrics

        seconds = gpu_cases.seconds_per_call(call, least=3.0, most=10)
        metrics = call()
    tokens = step.rows * length
    return {
        "model": step.model,
        "rows": step.rows,
        "length": length,
        "text": text,
        "layers": config.layers,
        "param_dtype": config.param_dtype,
        "attention": config.attention,
        "remat": config.remat,
        "step_seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "mfu": card.compute_share(model_flops(config, tokens, text), seconds),
        "loss": float(metrics["loss"] / metrics["loss_tokens"]),
        "compile_seconds": compiled,
        "program_bytes": gpu_cases.program_bytes(update),
    }


def packed_rows(rows: int, length: int, text: int, vocab_size: int) -> dict[str, np.ndarray]:
    """Return a batch of random tokens: rows without padding, full of texts of `text` tokens."""
    tokens = np.random.default_rng(0).integers(2, vocab_size, (rows, length), np.int32)
    here = np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length))
    return {
        "tokens": tokens,
        "segment_ids": here // text + 1,
        "positions": here % text,
        "loss_mask": np.ones((rows, length), bool),
    }


LENGTHS, TOKENS = (2048, 4096, 1024), 8192  # of a row, and of all rows
HEADS, WIDTH = 32, 128  # of bloom-7b1
_TOKAMAX = ("triton", "mosaic_gpu")


def attentions(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield a case for each implementation and length: forward and backward pass in bfloat16."""
    for length in (64,) if tiny else LENGTHS:
        for name in ("xla", "blockwise"):
            attend = functools.partial(attention, implementation=name)
            measure = functools.partial(_attention, name, attend, length, card, tiny)
            yield Case(f"{name}, {length} tokens", measure)
        for name in ("xla_chunked",) if tiny else _TOKAMAX:
            if importlib.util.find_spec("tokamax"):
                label = f"tokamax {name}"
                measure = functools.partial(_attention, label, _tokamax(name), length, card, tiny)
                yield Case(f"{label}, {length} tokens", measure)
    if not importlib.util.find_spec("tokamax"):
        print("attention: tokamax: skipped: it is not installed", flush=True)


def _attention(name: str, attend: Callable, length: int, card: Card, tiny: bool) -> Figures:
    rows, heads, width = (2, 4, 16) if tiny else (TOKENS // length, HEADS, WIDTH)
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (rows, length, heads, width)
    q, k, v, d_mixed = (jax.random.normal(key, shape, jnp.bfloat16) for key in keys)
    slopes = jnp.asarray(alibi.slopes(heads))

    def both(q, k, v, d_mixed, positions, segment_ids):
        def forward(q, k, v):
            place = {"positions": positions, "segment_ids": segment_ids}
            return attend(q, k, v, alibi_slopes=slopes, **place)

        mixed, backward = jax.vjp(forward, q, k, v)
        return mixed, *backward(d_mixed)

    figures: Figures = {"implementation": name, "rows": rows, "length": length}
    program = None
    for label, text in (("packed", length * TEXT // LENGTH), ("one_text", length)):
        batch = packed_rows(rows, length, text, 512)
        arrays = (q, k, v, d_mixed, jnp.asarray(batch["positions"]), batch["segment_ids"])
        if program is None:
            began = time.perf_counter()
            program = jax.jit(both).lower(*arrays).compile()
            figures["compile_seconds"] = time.perf_counter() - began
            figures["program_bytes"] = gpu_cases.program_bytes(program)
        seconds = gpu_cases.seconds_per_call(functools.partial(program, *arrays))
        # Three times two products (scores, and values by weight) over the visible pairs.
        flops = 3 * 2 * 2 * width * heads * rows * length * (text + 1) / 2
        figures[f"{label}_seconds"] = seconds
        figures[f"{label}_share_of_peak"] = card.compute_share(flops, seconds)
        figures[f"{label}_difference"] = _difference(program(*arrays)[0], arrays, slopes)
    return figures


def _difference(mixed: jax.Array, arrays: tuple, slopes: jax.Array) -> float:
    """Return the largest difference of the first row from the reference in float32."""
    q, k, v, _, positions, segment_ids = (array[:1] for array in arrays)
    wide = (array.astype(jnp.float32) for array in (q, k, v))
    place = {"positions": positions, "segment_ids": jnp.asarray(segment_ids)}
    with jax.default_matmul_precision("highest"):
        expected = attention(*wide, alibi_slopes=slopes, implementation="xla", **place)
    return float(jnp.max(jnp.abs(mixed[:1].astype(jnp.float32) - expected)))


def _tokamax(name: str) -> Callable:
    """Return one of tokamax's implementations of packed ALiBi, in the form of `attention`."""

    def attend(q, k, v, *, alibi_slopes, positions, segment_ids):
        del segment_ids  # a text begins where the positions do
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # tokamax would parse this benchmark's command line
        operations = "tokamax._src.ops.attention"
        api, base = (importlib.import_module(f"{operations}.{file}") for file in ("api", "base"))
        starts = jnp.arange(q.shape[1])[None] - positions
        bias = alibi_slopes[None, :, None, None] * positions[:, None, None].astype(jnp.float32)
        mask = base.Mask(k_start=starts[:, None], is_causal=True)
        run = api.IMPLEMENTATIONS[name]
        return run(q, k, v, bias=bias, mask=mask, logits_scale=q.shape[-1] ** -0.5)

    return attend


def losses(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield a case for each loss and number of tokens: value and gradients for bloom-1b1."""
    del card
    config = registry.shape("bloom-tiny" if tiny else "bloom-1b1")
    block = 32 if tiny else TrainConfig.loss_block
    functions = {
        "blockwise": functools.partial(loss.blockwise, block=block),
        "full logits": loss.by_optax,
    }
    for tokens in (128,) if tiny else (8192, 16384):
        for name, function in functions.items():
            measure = functools.partial(_loss, name, function, tokens, config)
            yield Case(f"{name}, {tokens} tokens", measure)


def _loss(name: str, function: Callable, tokens: int, config: ModelConfig) -> Figures:
    keys = jax.random.split(jax.random.key(0), 3)
    hidden = jax.random.normal(keys[0], (1, tokens, config.width), jnp.bfloat16)
    table = 0.02 * jax.random.normal(keys[1], (config.vocab_size, config.width))
    targets = jax.random.randint(keys[2], (1, tokens), 0, config.vocab_size)
    arrays = (hidden, table, targets, jnp.ones((1, tokens), bool))
    began = time.perf_counter()
    program = jax.jit(jax.value_and_grad(function, argnums=(0, 1))).lower(*arrays).compile()
    compiled = time.perf_counter() - began
    return {
        "implementation": name,
        "tokens": tokens,
        "loss_seconds": gpu_cases.seconds_per_call(functools.partial(program, *arrays)),
        "temporary_bytes": program.memory_analysis().temp_size_in_bytes,
        "compile_seconds": compiled,
    }
