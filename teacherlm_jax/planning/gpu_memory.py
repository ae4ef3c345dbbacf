"""Memory per GPU by component, from shapes alone.

Parameters, optimizer, gradients and the KV cache are those of the real trees of arrays with their
dtypes and shardings. Activations are estimated. The sum gets an overhead, because compiled programs
need more than their arrays; docs/reference/gpus.md has the error of the estimate.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp

from teacherlm_jax.capacity import bytes_per_device
from teacherlm_jax.models import attention_blockwise
from teacherlm_jax.planning import memory
from teacherlm_jax.planning.analytic_counts import SUFFIX
from teacherlm_jax.planning.annotation_programs import PlannedAnnotation
from teacherlm_jax.planning.training_program import PlannedTraining
from teacherlm_jax.training import step_memory

Parts = dict[str, float]  # bytes by component

ERROR = 0.4  # rounded up from 37%, the largest error of a comparison with a compiled program

_LOGIT_COPIES = 2  # float32 logits, and filtered ones
_SCORE_COPIES = 3  # float32 scores of a pair of blocks, their exponentials, and the mask
_ANNOTATION_OVERHEAD = 1.08  # of compiled programs over their arrays; of training: see `memory`


def of_training(run: PlannedTraining) -> Parts:
    """Return the memory of a step at its peak."""
    config, state = run.config, run.shapes.abstract
    sizes = step_memory.estimate(config, run.shapes.parameters, run.length)
    trained = bytes_per_device(state.params)
    loss_is_larger = sizes.loss - sizes.pending > sizes.block
    return _with_gaps(
        memory.with_overhead,
        {
            "parameters": bytes_per_device(state.model_params),
            "optimizer": bytes_per_device(state.opt_state),
            "gradients": trained * (2 if config.accumulate > 1 else 1),
            f"weights in {config.model.dtype}": sizes.casts,
            "saved activations": sizes.residuals,
            "logits and loss" if loss_is_larger else "one block's activations": sizes.working,
        },
    )


def of_annotation(run: PlannedAnnotation) -> Parts:
    """Return the memory of the larger one of prefill and decode."""
    parameters, slots = run.held()
    prefill, decode = _prefill(run), _decode(run)
    name = "prefill" if sum(prefill.values()) > sum(decode.values()) else "decode"
    temporaries = prefill if name == "prefill" else decode
    return _with_gaps(
        lambda size: _ANNOTATION_OVERHEAD * size,
        {
            "parameters": parameters,
            "KV cache": slots,
            **{f"{part} ({name})": size for part, size in temporaries.items()},
        },
    )


def _with_gaps(whole: Callable[[float], float], parts: Parts) -> Parts:
    """Return the components without empty ones, and the overhead of a compiled program."""
    size = sum(parts.values())
    shown = {name: float(part) for name, part in parts.items() if part}
    return {**shown, "gaps and other copies": whole(size) - size}


def _prefill(run: PlannedAnnotation) -> Parts:
    model, mesh = run.model, run.config.mesh
    itemsize, t, shards = jnp.dtype(model.dtype).itemsize, mesh.tensor, mesh.data * mesh.fsdp
    prompts, texts = run.group / shards, run.group * run.members / shards
    tokens = prompts * run.length + texts * SUFFIX
    keys = 2 * model.layers * tokens * model.width / t * itemsize
    block = tokens * itemsize * sum(step_memory.block_values(model, t))
    if model.attention == "xla":
        scores = prompts * run.length**2
    else:
        blocks = math.ceil(run.length / attention_blockwise.BLOCK)
        scores = prompts * math.ceil(run.length / blocks) ** 2
    scores *= _SCORE_COPIES * 4 * model.heads / t
    return {
        "copy of the keys": run.cache / 2,  # or of the values, while prompts are stored
        "keys and values of prompts": keys,
        "one block's activations": block + scores + _gathered(run),
        "logits": _LOGIT_COPIES * 4 * texts * model.vocab_size / t,
    }


def _decode(run: PlannedAnnotation) -> Parts:
    logits = 4 * run.config.slots * run.model.vocab_size / run.mesh.size
    return {"logits": _LOGIT_COPIES * logits, "gathered weights": _gathered(run)}


def _gathered(run: PlannedAnnotation) -> float:
    """Return the bytes of weights that are gathered along `fsdp`: two blocks and the head."""
    model, mesh = run.model, run.config.mesh
    if mesh.fsdp == 1:
        return 0.0
    head = model.vocab_size * (model.embedding_width or model.width)
    values = (2 * 12 * model.width**2 + head) / mesh.tensor
    return jnp.dtype(model.dtype).itemsize * values
