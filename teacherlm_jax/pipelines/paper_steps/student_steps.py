"""The students: their data, for each tokenizer, and their trainings."""

from collections.abc import Iterator, Mapping, Sequence

from teacherlm_jax.config import FORMS, StepConfig, paper_models, paper_slices
from teacherlm_jax.pipelines.generated_data import P3_DATASET
from teacherlm_jax.pipelines.paper_steps import paper_sizes
from teacherlm_jax.pipelines.paper_steps.experiment import Experiment
from teacherlm_jax.pipelines.paper_steps.paper_sizes import MULTI

_OF_TASKS = "bloomz-7b1"  # the model whose students of single tasks are in the paper
_P3 = "p3"  # variant of configs/student_data.py


def steps(experiment: Experiment) -> Iterator[StepConfig]:
    """Yield the preparations, and then the trainings."""
    yield from _preparations(experiment)
    for student in experiment.students:
        for form in experiment.forms:
            yield _training(experiment, student, MULTI, form, experiment.model(student))
    if _OF_TASKS in experiment.students:
        yield from _of_single_tasks(experiment)


def slice_of(student: str) -> paper_slices.TrainingSlice:
    """Return the slice of a student."""
    size = student.removesuffix(paper_models.MULTI_FIRST).partition("-")[2]
    return paper_slices.STUDENTS[size]


def _of_single_tasks(experiment: Experiment) -> Iterator[StepConfig]:
    for student in paper_models.SINGLE_TASK_STUDENTS:
        base = experiment.model(_OF_TASKS)
        if student.endswith(paper_models.MULTI_FIRST):
            if "CMF" not in experiment.forms:
                continue
            base = f"{experiment.root}/student/{_OF_TASKS}/multi_CMF/checkpoints/best"
        for task in experiment.tasks:
            for form in experiment.task_forms:
                yield _training(experiment, student, task, form, base)


def _preparations(experiment: Experiment) -> Iterator[StepConfig]:
    for family in dict.fromkeys(map(family_of, experiment.students)):
        if experiment.explained:
            yield _explained(experiment, family, MULTI, experiment.explained)
        if paper_models.ORIGINAL in experiment.forms:
            yield _original(experiment, family)
        if family == family_of(_OF_TASKS) and _OF_TASKS in experiment.students:
            for task in experiment.tasks:
                for author, forms in _by_author(experiment.task_forms).items():
                    variant = f"{task}/{author}" if author else task
                    yield _explained(experiment, family, variant, forms)


def _by_author(forms: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the letters of forms such as C/human by their author; empty: the teacher."""
    letters: dict[str, list[str]] = {}
    for form in forms:
        letter, _, author = form.partition("/")
        letters.setdefault(author, []).append(letter)
    return letters


def _original(experiment: Experiment, family: str) -> StepConfig:
    """Return the preparation of P3 without explanations."""
    only = {"datasets": P3_DATASET} if experiment.tiny else {}
    sizes = paper_models.ORIGINAL, (paper_models.ORIGINAL,)
    return _preparation(experiment, family, _P3, f"{experiment.data}/P3", only, *sizes)


def _explained(
    experiment: Experiment, family: str, variant: str, used: Sequence[str]
) -> StepConfig:
    """Return the preparation of explained samples, a variant of configs/student_data.py.

    It prepares all forms, so that students can be added later; in the toy form, only those `used`.
    """
    which, _, author = variant.partition("/")
    only = {"files": "*/samples/*.jsonl"} if variant == MULTI else {}
    if experiment.tiny:
        only["forms"] = "+".join(used)
    # The chains of thought of people are in the samples that the teacher explains.
    annotated = variant.removesuffix("/human").replace("/", "_")
    read = f"{experiment.teacher}/annotate{'' if variant == MULTI else f'_{annotated}'}"
    forms = paper_models.AUTHORED.get(author, FORMS)
    return _preparation(experiment, family, variant, read, only, which, forms)


def _preparation(
    experiment: Experiment,
    family: str,
    variant: str,
    read: str,
    only: Mapping[str, str],
    samples: str,
    forms: tuple[str, ...],
) -> StepConfig:
    """Return the preparation of the samples in a folder.

    `only` are settings that select some of them; `samples` and `forms` decide the sizes.
    """
    vocabulary, root = experiment.vocabulary(family), _root(experiment, family)
    settings = {**only, "data": read, "root": root, "vocabulary": vocabulary}
    return StepConfig(
        name=f"student_data{'_opt' if family == 'opt' else ''}/{variant}",
        title=f"prepare the data of {family.upper()} students: {variant}",
        verb="prepare",
        config=experiment.config("student_data", variant, **settings),
        arguments=(f"--config.length={experiment.toy_length(family)}",) if experiment.tiny else (),
        inputs=(read, vocabulary),
        output=f"{root}/{variant.replace('/', '_')}_data",
        rows=paper_sizes.SAMPLES[samples],
        tokens=float(sum(paper_sizes.student_tokens(samples, form) for form in forms)),
    )


def _training(experiment: Experiment, student: str, which: str, form: str, base: str) -> StepConfig:
    """Return the training of one student on P3-Sense-3K (`which` is "multi") or on one task."""
    letters, _, author = form.partition("/")
    original = letters == paper_models.ORIGINAL
    prepared = _P3 if original else f"{which}_{author}" if author else which
    data = f"{_root(experiment, family_of(student))}/{prepared}_data"
    benchmarks = f"{experiment.data}/eval"
    config = experiment.config(
        *("student", f"{student}/{which}/{form}"),
        data=data,
        root=f"{experiment.root}/student",
        base=base,
        eval=benchmarks,
        attention=experiment.attention,
    )
    config += ",tiny" if experiment.tiny else ""
    tokens = paper_sizes.student_tokens(paper_models.ORIGINAL if original else which, letters)
    benchmark = paper_models.BENCHMARKS["mmlu" if which == MULTI else which]
    read = (f"{data}/student_{'text' if original else letters}", f"{benchmarks}/{benchmark}")
    run = base.removesuffix("/checkpoints/best")
    where = slice_of(student)
    return StepConfig(
        name=f"student/{student}/{which}/{form}",
        title=f"train {student} on {which}: {form}",
        verb="train",
        config=config,
        planned=f"{config},tokens={tokens}",
        arguments=experiment.label,
        inputs=(*read, run) if run else read,
        output=f"{experiment.root}/student/{student}/{which}_{form.replace('/', '_')}",
        slice=where.topology,
        step_seconds=where.seconds if which == MULTI else paper_slices.TASK_SECONDS,
    )


def family_of(student: str) -> str:
    """Return the family of a student; BLOOM and BLOOMZ have one tokenizer."""
    return "opt" if student.startswith("opt") else "bloom"


def _root(experiment: Experiment, family: str) -> str:
    """Return the folder of the data of a family."""
    return f"{experiment.root}/student{'_opt' if family == 'opt' else ''}"
