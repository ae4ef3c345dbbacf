"""Evaluations of trained and published models, and the reports on all runs."""

from collections.abc import Iterator, Sequence

from teacherlm_jax.config import StepConfig, paper_models
from teacherlm_jax.pipelines.paper_steps import paper_sizes, student_steps
from teacherlm_jax.pipelines.paper_steps.experiment import Experiment

_WHOLE = ("--config.mesh.data=1", "--config.mesh.fsdp=-1")


def steps(experiment: Experiment, before: Sequence[StepConfig]) -> Iterator[StepConfig]:
    """Yield the evaluations of the models that earlier steps train, and of published students."""
    for step in before:
        if step.verb == "train" and _evaluated(experiment, step.name):
            yield _evaluation(experiment, step.name, step.output, step.slice)
    if experiment.explains and not experiment.tiny:
        for student in experiment.students:
            name, model = f"student/{student}/pretrained", experiment.model(student)
            yield _evaluation(experiment, name, model, student_steps.slice_of(student).topology)


def reports(experiment: Experiment, before: Sequence[StepConfig]) -> Iterator[StepConfig]:
    """Yield the page with the paper's tables, and one on runs that stand for none of its cells."""
    verbs = ("train", "annotate", "evaluate")
    read = tuple(step.output for step in before if step.verb in verbs)
    yield _report(experiment, "report", "fill the paper's tables", read, "--paper")
    if experiment.label:
        yield _report(experiment, "report_runs", "report all runs", read)


def _evaluated(experiment: Experiment, name: str) -> bool:
    """Return whether a model is evaluated; in the toy form, one of each kind is."""
    return not experiment.tiny or name.endswith(("/stage3_cot", "/multi/CMF"))


def _evaluation(experiment: Experiment, name: str, model: str, topology: str) -> StepConfig:
    """Return the evaluation of a model, a run folder or a published one, under its name."""
    trained = name in paper_models.TRAINED
    student = name.startswith("student/") and trained
    best = f"{model}/checkpoints/best" if trained else model
    benchmarks = f"{experiment.data}/eval"
    family = student_steps.family_of(name.split("/")[1])
    toy = (f"--config.max_length={experiment.toy_length(family)}",)
    arguments = toy if experiment.tiny else _WHOLE
    return StepConfig(
        name=f"evaluate/{name}",
        title=f"evaluate {name}",
        verb="evaluate",
        config=experiment.config(
            "evaluate_paper", name, model=best, root=experiment.root, eval=benchmarks
        ),
        arguments=(*arguments, *(experiment.label if student else ())),
        inputs=(model, benchmarks),
        output=f"{experiment.root}/evaluate/{name}",
        slice=topology,
        rows=paper_sizes.questions(name),
        tokens=paper_sizes.EVALUATED,
    )


def _report(
    experiment: Experiment, name: str, title: str, read: tuple[str, ...], *options: str
) -> StepConfig:
    output = f"{experiment.root}/{name}"
    return StepConfig(
        name=name,
        title=title,
        verb="report",
        arguments=(*options, f"--config.root={experiment.root}", f"--config.output={output}"),
        inputs=read,
        output=output,
    )
