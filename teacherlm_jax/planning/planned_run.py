"""A run of `train` or `annotate` on a slice or on GPUs, as shapes."""

from collections.abc import Sequence

import jax

from teacherlm_jax.config import AnnotateConfig, TrainConfig
from teacherlm_jax.planning import annotation_programs, training_program
from teacherlm_jax.planning.annotation_programs import PlannedAnnotation
from teacherlm_jax.planning.training_program import PlannedTraining

PlannedRun = PlannedTraining | PlannedAnnotation


def prepare(
    config: TrainConfig | AnnotateConfig,
    devices: Sequence[jax.Device] | int,
    length: int,
    named: str,
) -> PlannedRun:
    """Return the run of a config on these devices, or on this number of them.

    `length` is as in `training_program` and `annotation_programs`, and so are the errors; `named`
    is the published shape of a teacher that does not exist yet. It does not apply to a training.
    """
    if isinstance(config, TrainConfig):
        return training_program.prepare(config, devices, length)
    return annotation_programs.prepare(config, devices, length, named)
