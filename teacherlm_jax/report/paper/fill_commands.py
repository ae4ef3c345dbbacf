"""Commands that fill the empty cells of the paper's tables, in the order in which to run them.

Models that differ in one part of their names share a loop of the shell, so that all cells of the
paper take some 30 lines. The configs are those of the folder `configs/`.
"""

import dataclasses
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from etils import epath

from teacherlm_jax.config import paper_models

_EVALUATE = "teacherlm evaluate --config=configs/evaluate_paper.py:"


@dataclasses.dataclass(frozen=True)
class CommandGroup:
    """Commands that fill cells of one kind.

    Attributes:
        title: the models or their data.
        models: names of the models and datasets that they give figures for, as in `stands_for`.
        commands: command lines.
        note: what the commands need, if it is not obvious.
    """

    title: str
    models: tuple[str, ...]
    commands: tuple[str, ...]
    note: str = ""


def groups(missing: Sequence[str], trained: Mapping[str, epath.Path]) -> list[CommandGroup]:
    """Return the commands for models and datasets without figures.

    Args:
        missing: names of the models and datasets, as in `stands_for`.
        trained: paths of trained models, run folders or checkpoints, by the model that they stand
            for; such models only have to be evaluated.
    """
    to_train = [name for name in missing if name in paper_models.TRAINED and name not in trained]
    found = [
        *_pretrained(missing),
        *_data_of_teachers(to_train),
        *_teachers(missing, trained),
        *_data_of_multi_task_students(missing, to_train),
        *_multi_task(missing, trained),
        *_data_of_tasks(missing, to_train),
        *_single_task(missing, trained),
    ]
    return [group for group in found if group.commands]


def alone(name: str, trained: Mapping[str, epath.Path]) -> tuple[str, ...]:
    """Return the commands that are for one model or dataset only, without those for its data."""
    return next((group.commands for group in groups([name], trained) if name in group.models), ())


def _data_of_teachers(to_train: Collection[str]) -> Iterator[CommandGroup]:
    if any(name in paper_models.TEACHERS for name in to_train):
        command = "teacherlm prepare --config=configs/teacher_data.py:all,data=data,layout=parquet"
        yield CommandGroup("Data of the teachers", (), (command,))


def _data_of_multi_task_students(
    missing: Sequence[str], to_train: Collection[str]
) -> Iterator[CommandGroup]:
    multi = [name for name in to_train if name in paper_models.MULTI_TASK]
    explained = [name for name in multi if not name.endswith(f"/{paper_models.ORIGINAL}")]
    datasets = tuple(name for name in missing if name == "data/p3")
    if explained or datasets:
        commands = ["teacherlm annotate --config=configs/annotate_p3.py --sweep_all"]
        commands += _prepare_multi("multi,files=*/samples/*.jsonl", explained)
        yield CommandGroup(
            "Data of the multi-task students",
            datasets,
            tuple(commands),
            "Needs TeacherLM-7.1B after each third stage.",
        )
    if originals := [name for name in multi if name not in explained]:
        yield CommandGroup("The original P3", (), tuple(_prepare_multi("p3", originals)))


def _data_of_tasks(missing: Sequence[str], to_train: Collection[str]) -> Iterator[CommandGroup]:
    for task in paper_models.TASKS:
        own = [name for name in to_train if f"/{task}/" in name]
        datasets = tuple(name for name in missing if name == f"data/{task}")
        if own or datasets:
            note = "URL#MODEL is the address of a model on a server, in place of text-davinci-003."
            yield CommandGroup(
                f"Data of the students of {task}",
                datasets,
                tuple(_prepare_task(task, own)),
                note if _by(own, "davinci") else "",
            )


def _prepare_multi(variant: str, names: Sequence[str]) -> list[str]:
    """Return the commands for BLOOM and OPT students, whose tokenizers differ."""
    commands = []
    if any("/bloom" in name for name in names):
        commands.append(f"teacherlm prepare '--config=configs/student_data.py:{variant}'")
    if any("/opt" in name for name in names):
        other = f"vocabulary={paper_models.address('opt-1.3b')},root=runs/student_opt"
        commands.append(f"teacherlm prepare '--config=configs/student_data.py:{variant},{other}'")
    return commands


def _by(names: Sequence[str], author: str) -> bool:
    return any(name.endswith(f"/{author}") for name in names)


def _prepare_task(task: str, names: Sequence[str]) -> Iterator[str]:
    data = "teacherlm prepare --config=configs/student_data.py:"
    yield f"teacherlm annotate --config=configs/annotate_task.py:{task}"
    if any(name.count("/") == 3 for name in names):
        yield f"{data}{task}"
    if _by(names, "human"):
        yield f"{data}{task}/human"
    if _by(names, "davinci"):
        served = f"{task}/davinci,server=URL#MODEL"
        yield f"teacherlm annotate '--config=configs/annotate_task.py:{served}'"
        yield f"{data}{task}/davinci"


def _teachers(missing: Sequence[str], trained: Mapping[str, epath.Path]) -> Iterator[CommandGroup]:
    for size in paper_models.SIZES:
        names = [name for name in missing if name.startswith(f"teacher/{size}/")]
        base = paper_models.address(f"bloom-{size}")
        train = f"teacherlm train --config=configs/teacher.py:{size}/$stage,base={base}"
        lines = _trained_and_evaluated(names, trained, "stage", train, f"teacher/{size}/$stage")
        yield CommandGroup(f"TeacherLM {size}", tuple(names), tuple(lines))


def _pretrained(missing: Sequence[str]) -> Iterator[CommandGroup]:
    students = [name.split("/")[1] for name in missing if name in paper_models.PRETRAINED]
    line = _loop("model", students, [f"{_EVALUATE}student/$model/pretrained"])
    names = tuple(name for name in missing if name in paper_models.PRETRAINED)
    yield CommandGroup("Students before training", names, tuple(line))
    others = tuple(name for name in missing if name in paper_models.OTHERS)
    commands = tuple(f"{_EVALUATE}{name}" for name in others if name == "other/bloom-176b")
    yield CommandGroup("Models of others", others, commands)


def _multi_task(
    missing: Sequence[str], trained: Mapping[str, epath.Path]
) -> Iterator[CommandGroup]:
    for student in paper_models.STUDENTS:
        prefix = f"student/{student}/multi/"
        names = [name for name in missing if name.startswith(prefix)]
        data = ",data=runs/student_opt/multi_data" if student.startswith("opt") else ""
        base = paper_models.address(student)
        train = f"teacherlm train --config=configs/student.py:{student}/multi/$form,base={base}"
        explained = [name for name in names if not name.endswith("/P3")]
        originals = [name for name in names if name not in explained]
        lines = _trained_and_evaluated(
            explained, trained, "form", f"{train}{data}", f"{prefix}$form"
        )
        of_p3 = train + data.replace("multi_data", "p3_data")
        lines += _trained_and_evaluated(originals, trained, "form", of_p3, f"{prefix}$form")
        yield CommandGroup(f"Multi-task students of {student}", tuple(names), tuple(lines))


def _single_task(
    missing: Sequence[str], trained: Mapping[str, epath.Path]
) -> Iterator[CommandGroup]:
    for student in paper_models.SINGLE_TASK_STUDENTS:
        after_multi = student.endswith(paper_models.MULTI_FIRST)
        plain = student.removesuffix(paper_models.MULTI_FIRST)
        base = paper_models.address(plain)
        if after_multi:  # the paper does not say which of its multi-task students it took
            base = f"runs/student/{plain}/multi_CMF/checkpoints/best"
        for task in paper_models.TASKS:
            prefix = f"student/{student}/{task}/"
            names = [name for name in missing if name.startswith(prefix)]
            train = f"teacherlm train --config=configs/student.py:{student}/{task}/$form"
            lines = _trained_and_evaluated(
                names, trained, "form", f"{train},base={base}", f"{prefix}$form"
            )
            yield CommandGroup(f"Students of {task}, {student}", tuple(names), tuple(lines))


def _trained_and_evaluated(
    names: Sequence[str],
    trained: Mapping[str, epath.Path],
    variable: str,
    train: str,
    evaluated: str,
) -> list[str]:
    """Return a loop over the last parts of names, and lines for models that are trained already."""
    depth = evaluated.count("/")
    parts = ["/".join(name.split("/")[depth:]) for name in names if name not in trained]
    lines = _loop(variable, parts, [train, f"{_EVALUATE}{evaluated}"])
    for name in names:
        if name in trained:
            verb, config = _EVALUATE.split(" --")
            word = shlex.quote(f"--{config}{name},model={trained[name]}")
            lines.append(f"{verb} {word}")
    return lines


def _loop(variable: str, values: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return one line that runs commands for each value; without a loop for a single value."""
    if not values:
        return []
    if len(values) == 1:
        return [command.replace(f"${variable}", values[0]) for command in commands]
    return [f"for {variable} in {' '.join(values)}; do {' && '.join(commands)}; done"]
