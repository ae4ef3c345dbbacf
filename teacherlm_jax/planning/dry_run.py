"""A dry run of `annotate`: what the run would do and how long it would take, without any files."""

import dataclasses
import gc
import logging
from collections.abc import Sequence

from teacherlm_jax.annotation.job import job_preview
from teacherlm_jax.annotation.job.job_preview import JobPreview
from teacherlm_jax.config import AnnotateConfig, DryRunOptions
from teacherlm_jax.planning import dry_run_text, examined_teacher, slice_estimate, topology
from teacherlm_jax.planning.examined_teacher import ExaminedTeacher
from teacherlm_jax.planning.slice_estimate import SliceEstimate
from teacherlm_jax.runs import console
from teacherlm_jax.runs.console import ConsoleHandler

_SECONDS = 25.0  # of generation, of all teachers together
_WAVES = 4  # prompts of the sample for every slot


def dry_run(config: AnnotateConfig, options: DryRunOptions) -> str:
    """Return a text about the run that `config` would begin or continue.

    Nothing is written except temporary files, which are removed.

    Raises UserError where the run would: the config, the source or a teacher cannot be used, the
    run folder belongs to another run, or memory does not suffice. Also for an unknown slice or GPU.
    """
    if options.topology:
        topology.parse(options.topology)
    log = logging.Logger("dry run")
    log.addHandler(ConsoleHandler())
    preview = job_preview.preview_job(config, log, _WAVES * config.slots)
    left = [teacher for teacher in preview.job.teachers if preview.left(teacher.kinds)]
    models = [teacher for teacher in left if teacher.path is not None]
    examined = []
    for teacher in models:
        console.say(f"{teacher.name}: loading and timing it on a few prompts")
        budget = _SECONDS / len(models)
        examined.append(examined_teacher.examine(config, preview, teacher, budget, console.say))
        gc.collect()  # the next teacher needs the memory
    estimate = None
    if options.topology and examined:
        console.say(f"{options.topology}: planning for it")
        estimate = _estimate(config, options.topology, preview, examined)
    served = [teacher for teacher in left if teacher.path is None]
    return dry_run_text.page(config, preview, examined, served, estimate)


def _estimate(
    config: AnnotateConfig,
    wanted: str,
    preview: JobPreview,
    examined: Sequence[ExaminedTeacher],
) -> SliceEstimate:
    """Return the hours on a slice or on GPUs of what the models here have to write."""
    kinds = [kind for one in examined for kind in one.teacher.kinds]
    others = {field.name: "" for field in dataclasses.fields(config.teachers)}
    for kind in kinds:
        del others[kind]
    config = dataclasses.replace(config, teachers=dataclasses.replace(config.teachers, **others))
    rows = max(preview.left((kind,)) for kind in kinds)
    typical = max(one.groups[0].longest for one in examined)
    return slice_estimate.estimate(config, wanted, typical, rows)
