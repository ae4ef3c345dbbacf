"""Extension of a run to more steps, where the learning-rate schedule allows it."""

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.config import TrainConfig
from teacherlm_jax.errors import UserError


def extended_keys(before: Mapping[str, Any], config: TrainConfig) -> tuple[str, ...]:
    """Return the keys that may differ from the earlier config because they extend the run.

    `before` is the config that the run was started with, as a dict. The result is `("steps",)` if
    steps are added under a constant learning rate, and otherwise empty. Raises UserError if steps
    are added to a run whose learning rate decays, which cannot be extended.
    """
    steps, schedule = before.get("steps", 0), before.get("optimizer", {}).get("schedule")
    if config.steps <= steps or config.optimizer.schedule != schedule:
        return ()
    if schedule == "constant":
        return ("steps",)
    raise UserError(
        f"config.steps={config.steps}: this run was started with {steps} steps and cannot be "
        f"extended, because with config.optimizer.schedule={schedule!r} the learning rate of every "
        f"step depends on steps; choose another config.output, with {config.output} as "
        "config.init_from"
    )
