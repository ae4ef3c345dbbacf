import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.config import OptimizerConfig
from teacherlm_jax.training import optimizer

PEAK = OptimizerConfig(learning_rate=0.8, warmup_steps=3)


def rates(steps, **changes):
    config = dataclasses.replace(PEAK, **changes)
    return [float(optimizer.learning_rate(step, config, steps)) for step in range(steps)]


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, [0.8, 0.8, 0.8, 0.8, 0.8]),
        ({"schedule": "linear"}, [0.8, 0.6, 0.4, 0.2, 0.0]),
        ({"schedule": "linear", "final_fraction": 0.5}, [0.8, 0.7, 0.6, 0.5, 0.4]),
        (
            {"schedule": "cosine"},
            [0.8, 0.4 + 0.4 * math.sqrt(0.5), 0.4, 0.4 - 0.4 * math.sqrt(0.5), 0.0],
        ),
        ({"schedule": "cosine", "final_fraction": 1.0}, [0.8, 0.8, 0.8, 0.8, 0.8]),
    ],
)
def test_the_rate_warms_up_and_then_follows_its_schedule(changes, after):
    np.testing.assert_allclose(rates(8, **changes), [0.2, 0.4, 0.6, *after], atol=1e-7)


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert rates(1, warmup_steps=0) == pytest.approx([0.8])
    assert rates(2, warmup_steps=0, schedule="linear") == pytest.approx([0.8, 0.0])


def test_weight_decay_leaves_norms_and_biases_alone():
    params = {"up": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}}
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.5)
    rule = optimizer.make_optimizer(config, steps=2)
    nothing = {
        "up": {"kernel": jnp.zeros(2), "bias": jnp.zeros(2)},
        "norm": {"scale": jnp.zeros(2)},
    }
    updates, _ = rule.update(nothing, rule.init(params), params)
    np.testing.assert_allclose(updates["up"]["kernel"], [-0.05, -0.05], rtol=1e-6)
    assert updates["up"]["bias"].tolist() == [0, 0]
    assert updates["norm"]["scale"].tolist() == [0, 0]


def test_gradients_are_clipped_together_and_each_direction_moves_at_the_rate():
    params = {"a": {"kernel": jnp.zeros(2)}}
    config = OptimizerConfig(learning_rate=0.1, eps=1e-3, clip_norm=1e-3)
    rule = optimizer.make_optimizer(config, steps=2)
    updates, _ = rule.update({"a": {"kernel": jnp.array([3e3, -4e3])}}, rule.init(params), params)
    # Clipped to a norm of 1e-3 the entries are 0.6e-3 and -0.8e-3, which eps then damps.
    np.testing.assert_allclose(
        updates["a"]["kernel"], [-0.1 * 0.6 / 1.6, 0.1 * 0.8 / 1.8], rtol=1e-5
    )
