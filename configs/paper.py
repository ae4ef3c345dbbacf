"""The paper's whole experiment as one pipeline (arXiv 2310.19019).

    teacherlm pipeline --config=configs/paper.py:7b1 --dry_run
    teacherlm pipeline --config=configs/paper.py:7b1 --status
    teacherlm pipeline --config=configs/paper.py:7b1

The variant is the size of the teacher. The steps prepare the data, train three stages, three
specialists and the control, explain P3-Sense-3K and the training sets of single tasks, prepare and
train nine students in eight forms and the students of single tasks, evaluate every model, and fill
the paper's tables. Each step is a command with a config of this folder; --dry_run prints all of
them with slices, hours and storage. docs/how-to/run-a-pipeline.md explains the options, and
docs/how-to/reproduce-the-paper.md the data to collect first.

    7b1   the paper's experiment
    560m, 1b1, 3b
          the same with a smaller teacher; its students stand for none of the paper's cells
    176b  stage 2 and its evaluation only, as in the paper
    tiny  with toy models on generated data, in about a minute on two cores: one of each kind of
          step but annotations by a server, and of evaluations that of three models

Settings after the variant, as in `7b1,root=gs://my-bucket/paper,students=bloom-1b1+opt-1.3b`:

    root       folder of all runs (default: runs/paper)
    data       folder of the data (default: data)
    models     folder with the published models, such as bloom-7b1; empty: the Hugging Face Hub
    students   only these models (default: all nine). Students of single tasks are bloomz-7b1
    forms      only these forms of multi-task students, as in `text+CMF` (default: all eight, and
               P3, the original P3, which takes most of the time)
    tasks      only these single tasks, as in `creak+ecqa`; none (default: creak, ecqa, strategyqa)
    server     address of the model in place of text-davinci-003, as in
               http://localhost:8000/v1#my-model (default: leave out its explanations)
    attention  fused on TPUs (default), blockwise elsewhere
"""

import dataclasses
import os
from collections.abc import Iterator

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.pipelines.paper_steps import (
    evaluation_steps,
    experiment,
    explanation_steps,
    student_steps,
    teacher_steps,
)

HERE = os.path.relpath(os.path.dirname(__file__))


def get_config(argument: str = "") -> config.PipelineConfig:
    """Return the pipeline of one size."""
    variant, given = variants.parse(argument, **dict.fromkeys(experiment.SETTINGS, ""))
    settings = experiment.parse(variant, given, HERE)
    found = tuple(steps(settings))
    if settings.tiny:  # its data have other sizes than the paper's
        nothing = {"slice": "", "step_seconds": 0.0, "rows": 0, "tokens": 0.0}
        found = tuple(dataclasses.replace(step, **nothing) for step in found)
    return config.PipelineConfig(
        output=settings.root, steps=found, generated="paper" if settings.tiny else ""
    )


def steps(settings: experiment.Experiment) -> Iterator[config.StepConfig]:
    """Yield all steps, each after those that it needs."""
    found = [*teacher_steps.steps(settings)]
    if settings.explains:
        found += [*explanation_steps.steps(settings), *student_steps.steps(settings)]
    found += evaluation_steps.steps(settings, found)
    yield from found
    yield from evaluation_steps.reports(settings, found)
