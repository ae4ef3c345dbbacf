"""AdamW with clipping by global norm, and its learning-rate schedule."""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float32, Int

from teacherlm_jax.config import OptimizerConfig
from teacherlm_jax.sharding import Tree

# Fraction of the decay from the peak to the final rate, by progress in [0, 1] after warm-up.
SCHEDULES = {
    "constant": lambda progress: 0.0 * progress,
    "linear": lambda progress: progress,
    "cosine": lambda progress: 0.5 - 0.5 * jnp.cos(math.pi * progress),
}

_NOT_DECAYED = ("scale", "bias")


def learning_rate(
    step: Int[Array, ""] | int, config: OptimizerConfig, steps: int
) -> Float32[Array, ""]:
    """Return the rate of update number `step` (from 0) of `steps`.

    It rises linearly to the peak at step `warmup_steps`, then follows the schedule, which reaches
    `final_fraction` of the peak at the last step.
    """
    step = jnp.asarray(step, jnp.float32)
    rise = jnp.minimum(1.0, (step + 1) / (config.warmup_steps + 1))
    decay_steps = max(1, steps - 1 - config.warmup_steps)
    progress = jnp.clip((step - config.warmup_steps) / decay_steps, 0.0, 1.0)
    fall = 1.0 - (1.0 - config.final_fraction) * SCHEDULES[config.schedule](progress)
    return config.learning_rate * rise * fall


def learning_rate_at(step: int, config: OptimizerConfig, steps: int) -> float:
    """Return the rate of a run's step, counted from 1."""
    return float(learning_rate(step - 1, config, steps))


def decayed(params: Tree) -> Tree:
    """Return True for each parameter with weight decay: all but norms and biases."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key not in _NOT_DECAYED, params
    )


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Return the optimizer of a run of `steps` updates."""
    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            lambda step: learning_rate(step, config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decayed,
        ),
    )

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        # optax raises a float to an int32 power, which strict promotion (on in tests) refuses.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)
