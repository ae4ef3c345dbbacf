"""The commands of a pipeline's steps, checked before the first of them is started."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from teacherlm_jax.cli import config_file, flags
from teacherlm_jax.config import DryRunOptions, PipelineConfig, StepConfig
from teacherlm_jax.config.fields import not_among
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.verbs import VERBS


def check(pipelines: Iterable[Any]) -> None:
    """Raise UserError for the first step, of those configs that are pipelines, that is invalid."""
    for pipeline in pipelines:
        if isinstance(pipeline, PipelineConfig):
            configs(pipeline)


def configs(pipeline: PipelineConfig) -> dict[str, tuple[Any, ...]]:
    """Return the configs of each step by its name: one, or one for each point of a sweep.

    Raises UserError that names the step whose command line cannot be used.
    """
    load = functools.cache(config_file.load)  # a file is often that of many steps
    found = {}
    for index, step in enumerate(pipeline.steps):
        if step.verb not in VERBS:
            raise UserError(f"config.steps[{index}].verb: {not_among(step.verb, tuple(VERBS))}")
        with _named(step):
            found[step.name] = _configs_of(step, load)
    return found


def _configs_of(step: StepConfig, load: Callable[..., Any]) -> tuple[Any, ...]:
    verb = VERBS[step.verb]
    options = (*verb.options, *((DryRunOptions,) if verb.dry_run else ()))
    command = flags.load(
        step.planned_words[1:],
        verb.config_classes,
        verb.positional,
        verb.needs_file,
        options,
        load_file=load,
    )
    return command.runs


@contextlib.contextmanager
def _named(step: StepConfig) -> Iterator[None]:
    """Name a step in the errors of its command line."""
    try:
        yield
    except UserError as error:
        raise UserError(f"step {step.name!r}: {error}") from None
