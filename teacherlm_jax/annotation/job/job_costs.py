"""Costs of an annotation: texts, tokens, FLOPs, time, devices, and money paid to servers."""

from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.annotation import work_time
from teacherlm_jax.annotation.endpoint import endpoint_cost
from teacherlm_jax.annotation.explained_rows import KindCounts
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.config import AnnotateConfig, ModelConfig
from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.models.forward_flops import forward_flops


def costs(
    config: AnnotateConfig, job: AnnotationJob, run: epath.Path, counts: Mapping[str, KindCounts]
) -> dict[str, Any]:
    """Return the costs of a job as JSON.

    Args:
        config: settings of the run, with the prices of a server.
        job: the job, with its teachers.
        run: the run folder, with the time of each process.
        counts: counts of the explanations of each kind.

    Returns:
        `texts`, `prompt_tokens` and `new_tokens`, those of rejected attempts included; `flops` of
        the forward passes over them, None if all teachers are on servers; `money` paid to servers,
        None without prices; `seconds`, `chip_seconds`, `chips` and `devices`, see `WorkTime`.
    """
    flops = [
        _flops(shape, own.all_texts)
        for kind, own in counts.items()
        if (shape := _shape(job, kind)) is not None
    ]
    prices = config.endpoint
    money = [
        endpoint_cost.cost(prices, own.all_texts["prompt_tokens"], own.all_texts["new_tokens"])
        for kind, own in counts.items()
        if is_endpoint(getattr(config.teachers, kind))
        and (prices.prompt_price or prices.completion_price)
    ]
    keys = ("texts", "prompt_tokens", "new_tokens")
    return {
        **{key: sum(own.all_texts[key] for own in counts.values()) for key in keys},
        "flops": sum(flops) if flops else None,
        "money": sum(money) if money else None,
        **work_time.spent(run).to_json(),
    }


def _shape(job: AnnotationJob, kind: str) -> ModelConfig | None:
    return next(teacher.of(kind).shape for teacher in job.teachers if kind in teacher.kinds)


def _flops(shape: ModelConfig, of: Mapping[str, int]) -> float:
    """Return the FLOPs of texts whose lengths are equal; each reads its prompt by itself."""
    tokens = of["prompt_tokens"] + of["new_tokens"]
    pairs = tokens * (tokens / max(1, of["texts"]) + 1) / 2
    return forward_flops(shape, tokens, pairs, of["new_tokens"] + of["texts"])
