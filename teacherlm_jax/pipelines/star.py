"""The verb `star`: rounds of explaining, checking, rationalizing and training.

STaR (Zelikman et al. 2022, arXiv 2203.14465). A round is a folder, and each of its steps is a
command or writes a file, so an interrupted run continues with the step in which it was interrupted.
"""

from typing import Any

from teacherlm_jax.config import PipelineOptions, StarConfig
from teacherlm_jax.pipelines import runner, star_files, star_inputs
from teacherlm_jax.pipelines.star_steps import steps_of
from teacherlm_jax.runs.run import Run

__all__ = ["star", "steps_of"]


def star(config: StarConfig, run: Run, options: PipelineOptions) -> dict[str, Any] | None:
    """Do every step that is not finished.

    Returns `rounds`, the figures of each round (see `star_files.write_round`); None if
    the options select other steps than all. Raises UserError if a step fails; a later
    call resumes from that step. Raises it before the first step if `config.model` does not have the
    shape of the model in `config.init_from`.
    """
    steps = steps_of(config)
    if config.init_from and not steps[0].finished:
        star_inputs.require_shape(config)
    if runner.run_steps(steps, run, options) is None:
        return None
    rounds = star_files.read_rounds(config)
    run.log.info("")
    for figures in rounds:
        run.log.info("%s", star_files.round_line(figures))
    return {"rounds": rounds}
