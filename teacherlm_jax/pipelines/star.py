"""The verb `star`: rounds of explaining, checking, rationalizing and training.

STaR (Zelikman et al. 2022, arXiv 2203.14465). A round is a folder, and each of its steps is a
command or writes a file, so an interrupted run continues with the step in which it was interrupted.
"""

from typing import Any

from teacherlm_jax.config import PipelineOptions, StarConfig
from teacherlm_jax.pipelines import runner, star_files
from teacherlm_jax.pipelines.star_steps import steps_of
from teacherlm_jax.runs.run_folder import Run

__all__ = ["star", "steps_of"]


def star(config: StarConfig, run: Run, options: PipelineOptions) -> dict[str, Any] | None:
    """Do every step that is not finished.

    Returns `rounds`, the figures of each round (see `star_files.write_round`); None if
    `options.until` ends the run before its last step. Raises UserError if a step fails; a later
    call resumes from that step.
    """
    steps = steps_of(config)
    seconds = runner.run_steps(steps, run, options.until)
    if len(seconds) < len(steps):
        return None
    rounds = star_files.read_rounds(config)
    run.log.info("")
    for figures in rounds:
        run.log.info("%s", star_files.round_line(figures))
    return {"rounds": rounds}
