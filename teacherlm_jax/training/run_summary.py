"""How a run went, in figures: speed, and where its time was spent."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.training.account import Account
from teacherlm_jax.training.progress import Progress, clock
from teacherlm_jax.training.speed import Speed

_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}


def summary(progress: Progress, account: Account, speed: Speed) -> dict[str, Any]:
    """What `summary.json` holds.

    Seconds and shares are of the whole run, over all processes that worked on it one after the
    other; `step_seconds` are of the last one. `goodput` is the share of the time that went into
    steps.
    """
    seconds = account.seconds()
    wall = sum(seconds.values())
    share = {name: spent / max(wall, 1e-9) for name, spent in seconds.items()}
    tokens_per_second = progress.tokens / max(progress.seconds, 1e-9)
    return {
        "steps": progress.step,
        "tokens": progress.tokens,
        "device": speed.device,
        "chips": speed.chips,
        "tokens_per_second": tokens_per_second,
        **speed.rates(tokens_per_second),
        "model_flops_per_token": speed.flops_per_token,
        "peak_flops_per_chip": speed.peak,
        "step_seconds": percentiles(progress.durations),
        "wall_seconds": wall,
        "seconds": seconds,
        "share": share,
        "goodput": share["steps"],
    }


def percentiles(durations: Sequence[float]) -> dict[str, float]:
    """Median, 90 %, 99 % and maximum of step times in seconds, and their count; empty for none."""
    if not durations:
        return {}
    found = {name: float(np.percentile(durations, q)) for name, q in _PERCENTILES.items()}
    return {**found, "count": len(durations)}


def line(told: Mapping[str, Any]) -> str:
    """A summary in one line: speed, and where the time went."""
    spent = sorted(told["share"].items(), key=lambda item: -item[1])
    others = ", ".join(f"{name} {share:.0%}" for name, share in spent if share >= 0.005)
    mfu = f", mfu {told['mfu']:.2f}" if "mfu" in told else ""
    return (
        f"{told['tokens_per_second_per_chip']:,.0f} tokens/s a chip{mfu}; "
        f"{clock(told['wall_seconds'])} in all: {others}"
    )
