"""Explanations of P3-Sense-3K and of the training sets of single tasks."""

from collections.abc import Iterator

from teacherlm_jax.config import StepConfig
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.generated_data import P3_DATASET
from teacherlm_jax.pipelines.paper_steps import paper_sizes
from teacherlm_jax.pipelines.paper_steps.experiment import Experiment
from teacherlm_jax.sources import p3

_SLICE = "v5e:4x4"
_SPLIT = ("--config.mesh.data=1", "--config.mesh.tensor=16")  # two of the 32 heads on each chip
_TOY = ("--config.sampling.max_new_tokens=8", "--config.slots=8")


def steps(experiment: Experiment) -> Iterator[StepConfig]:
    """Yield an annotation for each task and author, P3-Sense-3K first."""
    yield _of_p3(experiment)
    for task in experiment.tasks:
        yield _of_task(experiment, task)
        if experiment.server:
            yield _of_server(experiment, task)


def _of_p3(experiment: Experiment) -> StepConfig:
    data = f"{experiment.data}/P3"
    points = "--sweep_all"
    if experiment.tiny:
        tasks = [source.name for source in p3.sources(layout="parquet")]
        points = f"--sweep_index={tasks.index(p3.tasks(P3_DATASET)[0])}"
    return StepConfig(
        name="annotate/p3",
        title="explain P3-Sense-3K",
        verb="annotate",
        config=experiment.config("annotate_p3", "", data=data, root=experiment.teacher),
        arguments=(points, *_of_teacher(experiment)),
        inputs=(data, *_specialists(experiment)),
        output=f"{experiment.teacher}/annotate",
        slice=_SLICE,
        rows=paper_sizes.SAMPLES[paper_sizes.MULTI],
        tokens=paper_sizes.QUESTION[paper_sizes.MULTI],
    )


def _of_task(experiment: Experiment, task: str) -> StepConfig:
    data = f"{experiment.data}/rationale"
    read = (f"{data}/{task}_train.jsonl", *_specialists(experiment))
    if experiment.tiny:  # after P3, whose compiled programs it then finds
        read += (f"{experiment.teacher}/annotate",)
    return StepConfig(
        name=f"annotate/{task}",
        title=f"explain {task}",
        verb="annotate",
        config=experiment.config("annotate_task", task, data=data, root=experiment.teacher),
        arguments=_of_teacher(experiment),
        inputs=read,
        output=f"{experiment.teacher}/annotate_{task}",
        slice=_SLICE,
        rows=paper_sizes.SAMPLES[task],
        tokens=paper_sizes.QUESTION[task],
    )


def _of_server(experiment: Experiment, task: str) -> StepConfig:
    data, variant = f"{experiment.data}/rationale", f"{task}/davinci"
    return StepConfig(
        name=f"annotate/{variant}",
        title=f"explain {task} by a model on a server",
        verb="annotate",
        config=experiment.config(
            *("annotate_task", variant),
            data=data,
            root=experiment.teacher,
            server=experiment.server,
        ),
        arguments=experiment.label,
        inputs=(f"{data}/{task}_train.jsonl",),
        output=f"{experiment.teacher}/annotate_{task}_davinci",
        rows=paper_sizes.SAMPLES[task],
        tokens=paper_sizes.QUESTION[task],
    )


def _of_teacher(experiment: Experiment) -> tuple[str, ...]:
    """Return the arguments of annotations by the specialists."""
    return (*(_TOY if experiment.tiny else _SPLIT), *experiment.label)


def _specialists(experiment: Experiment) -> tuple[str, ...]:
    return tuple(f"{experiment.teacher}/stage3_{kind}" for kind in KINDS)
