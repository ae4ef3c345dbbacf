"""The verb `pipeline`: commands in sequence, each a process with its own config and run folder."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from teacherlm_jax.config import PipelineConfig, PipelineOptions
from teacherlm_jax.pipelines import generated_data, pipeline_step, runner
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.runs.run import Run

_NONE: Mapping[str, str] = MappingProxyType({})


def pipeline(config: PipelineConfig, run: Run, options: PipelineOptions) -> dict[str, Any] | None:
    """Run every step that is not finished, or whose inputs have changed since.

    Returns the seconds of each step of this call; None if the options select other steps than all.
    Raises UserError if a step fails; a later call resumes from that step.
    """
    if config.generated:
        generated_data.write(config.generated, run)
        run.publish()
    seconds = runner.run_steps(steps_of(config), run, options)
    return None if seconds is None else {"seconds": seconds}


def steps_of(config: PipelineConfig, environment: Mapping[str, str] = _NONE) -> list[Step]:
    """Return the steps of a pipeline; `environment` has variables of their commands."""
    needs = config.needs
    outputs = tuple(f"{step.output}/" for step in config.steps)
    return [
        pipeline_step.of_config(
            step,
            needs[step.name],
            environment,
            [path for path in step.inputs if not f"{path}/".startswith(outputs)],
        )
        for step in config.steps
    ]
