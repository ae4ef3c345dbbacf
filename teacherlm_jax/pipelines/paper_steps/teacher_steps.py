"""The teacher: its data, its three stages, the specialists and the control."""

from collections.abc import Iterator

from teacherlm_jax.config import StepConfig, paper_models, paper_slices
from teacherlm_jax.pipelines.generated_data import P3_DATASET
from teacherlm_jax.pipelines.paper_steps import paper_sizes
from teacherlm_jax.pipelines.paper_steps.experiment import Experiment


def steps(experiment: Experiment) -> Iterator[StepConfig]:
    """Yield the preparation of the data and the training of each stage."""
    yield _data(experiment)
    for name in paper_models.TEACHERS:
        _, size, stage = name.split("/")
        if size == experiment.size:
            yield _stage(experiment, stage)


def _data(experiment: Experiment) -> StepConfig:
    data, root = experiment.data, f"{experiment.root}/teacher"
    only = {"vocabulary": experiment.vocabulary("bloom")}
    read: tuple[str, ...] = ("P3", "tfds", "teacher_data")
    if experiment.tiny:
        only = {"p3": P3_DATASET, "muffin": "none"}
        only |= {"vocabulary": f"{experiment.root}/vocabulary", "pieces": "1000"}
        read = ("P3", "teacher_data")
    return StepConfig(
        name="teacher_data",
        title="prepare the data of the teacher",
        verb="prepare",
        config=experiment.config(
            "teacher_data", "all", layout="parquet", data=data, **only, root=root
        ),
        arguments=("--config.length=256",) if experiment.tiny else (),
        inputs=tuple(f"{data}/{folder}" for folder in read),
        output=f"{root}/teacher_data",
        rows=paper_sizes.TEACHER_SAMPLES,
        tokens=paper_sizes.TEACHER_TOKENS,
    )


def _stage(experiment: Experiment, stage: str) -> StepConfig:
    size, root = experiment.size, f"{experiment.root}/teacher"
    data, mmlu = f"{root}/teacher_data", f"{experiment.data}/eval/mmlu_test.jsonl"
    base = experiment.model(f"bloom-{size}")
    before = paper_models.stage_before(size, stage)
    start = f"{experiment.teacher}/{before}" if before else base
    if experiment.tiny and stage == "no_stage":  # after stage 1, whose compiled programs it finds
        start = f"{experiment.teacher}/stage1"
    settings = {"root": root, "data": data, "base": base, "mmlu": mmlu}
    config = experiment.config(
        "teacher", f"{size}/{stage}", **settings, attention=experiment.attention
    )
    where = paper_slices.TEACHERS[size]
    return StepConfig(
        name=f"teacher/{size}/{stage}",
        title=f"train the teacher: {stage}",
        verb="train",
        config=f"{config},tiny" if experiment.tiny else config,
        inputs=tuple(filter(None, (f"{data}/teacher_{stage}", mmlu, start))),
        output=f"{experiment.teacher}/{stage}",
        slice=where.topology,
        step_seconds=where.seconds,
    )
