"""The verb `star`: rounds of explaining, checking, rationalizing and training.

STaR (Zelikman et al. 2022, arXiv 2203.14465). A round is a folder, and each of its steps is a
command or writes a file, so an interrupted run continues with the step in which it was interrupted.
"""

import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from teacherlm_jax.config import PipelineOptions, StarConfig
from teacherlm_jax.pipelines import runner, star_files
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
        # In a process of its own: reading a checkpoint claims the devices, which the steps need.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(_require_shape, config).result()
    if runner.run_steps(steps, run, options) is None:
        return None
    rounds = star_files.read_rounds(config)
    run.log.info("")
    for figures in rounds:
        run.log.info("%s", star_files.round_line(figures))
    return {"rounds": rounds}


def _require_shape(config: StarConfig) -> None:
    """Raise UserError where round 0 would: unless the model has the shape of the original one."""
    # Imported here because they load JAX, which `star` and its other steps do without.
    from teacherlm_jax.hf import any_model
    from teacherlm_jax.training import warm_start

    original = any_model.describe(config.init_from)
    vocab_size = config.model.vocab_size or original.vocabulary.size
    model = dataclasses.replace(config.model, vocab_size=vocab_size)
    warm_start.require_shape(config.init_from, original.config, model)
