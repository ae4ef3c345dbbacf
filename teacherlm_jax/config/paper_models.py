"""Names of the models and datasets in the paper's tables, for the key `stands_for`.

Besides the names: what a model starts from, what its explanations are, and what it is evaluated on.

    teacher/SIZE/STAGE              the teachers of Table 1
    student/MODEL/pretrained        a student before training
    student/MODEL/multi/FORM        a student of P3-Sense-3K in a text form; P3: of the original P3
    student/MODEL/TASK/FORM         a student of one task, explained by the teacher
    student/MODEL/TASK/FORM/AUTHOR  the same, explained by people or by text-davinci-003
    other/MODEL                     the models that Tables 5 and 6 compare with
    data/DATASET                    the datasets of Table 2

Variants of `configs/teacher.py` and `configs/student.py` are these names without their first part.
"""

import difflib
from collections.abc import Sequence

from teacherlm_jax.config.names import FORMS, HUB

KEY = "stands_for"  # of a config; a finished run can get another value
NONE = "none"  # the run stands for nothing in the paper

SIZES = ("560m", "1b1", "3b", "7b1", "176b")
STAGES = ("stage1", "stage2", "stage3_cot", "stage3_fundamental", "stage3_mistake", "no_stage")
TEACHERS = (
    *(f"teacher/{size}/{stage}" for size in SIZES[:-1] for stage in STAGES),
    f"teacher/{SIZES[-1]}/stage2",  # the only stage of this size
)

_STAGE_BEFORE = {"stage2": "stage1"} | {stage: "stage2" for stage in STAGES if "stage3" in stage}

STUDENTS = (
    *("bloom-1b1", "bloom-3b", "bloom-7b1"),
    *("bloomz-1b1", "bloomz-3b", "bloomz-7b1"),
    *("opt-1.3b", "opt-2.7b", "opt-6.7b"),
)
PRETRAINED = tuple(f"student/{model}/pretrained" for model in STUDENTS)
ORIGINAL = "P3"  # the form of students of the original P3
MULTI_TASK = tuple(
    f"student/{model}/multi/{form}" for model in STUDENTS for form in (ORIGINAL, *FORMS)
)

TASKS = ("ecqa", "strategyqa", "creak")
MULTI_FIRST = "-multi"  # suffix of a model that was a multi-task student before
SINGLE_TASK_STUDENTS = ("bloomz-7b1", f"bloomz-7b1{MULTI_FIRST}")
SINGLE_TASK_FORMS = (
    *("text", "C/human", "C", "F", "M"),
    *("C/davinci", "F/davinci", "M/davinci"),
)
AUTHORED = {"human": ("C",), "davinci": ("C", "F", "M")}  # forms by an author besides the teacher
SINGLE_TASK = tuple(
    f"student/{model}/{task}/{form}"
    for model in SINGLE_TASK_STUDENTS
    for task in TASKS
    for form in SINGLE_TASK_FORMS
)

OTHERS = ("other/flan-palm-8b", "other/glm-130b", "other/bloom-176b", "other/gopher-280b")

TRAINED = (*TEACHERS, *MULTI_TASK, *SINGLE_TASK)
MODELS = (*TRAINED, *PRETRAINED, *OTHERS)
DATASETS = ("data/ecqa", "data/strategyqa", "data/creak", "data/p3")

BENCHMARKS = {  # file of each
    "creak": "creak.jsonl",
    "ecqa": "ecqa.jsonl",
    "strategyqa": "strategy_qa.jsonl",
    "mmlu": "mmlu_test.jsonl",
}

MODEL_HELP = (
    "model of the paper that this run stands for in `report --paper`, such as teacher/7b1/stage2 "
    "or student/bloomz-7b1/multi/CMF (docs/reference/paper.md lists them); 'none': for no model; "
)


def stage_before(size: str, stage: str) -> str:
    """Return the stage that a stage of a teacher starts from; empty: from published BLOOM."""
    return "" if size == SIZES[-1] else _STAGE_BEFORE.get(stage, "")


def benchmarks_of(name: str) -> tuple[str, ...]:
    """Return the benchmarks on which the paper evaluates a model, keys of BENCHMARKS."""
    role, _, *training = name.split("/")
    if role in ("teacher", "other"):
        return ("mmlu",)
    return (training[0],) if training[0] in TASKS else tuple(BENCHMARKS)


def address(model: str) -> str:
    """Return the address of a published model such as `bloomz-7b1` or `bloom-176b`."""
    organization = "facebook" if model.startswith("opt") else "bigscience"
    return f"{HUB}{organization}/{'bloom' if model == 'bloom-176b' else model}"


def problem(value: str, names: Sequence[str]) -> str:
    """Return what is wrong with a value of `stands_for`; empty if it is one of `names`."""
    return "" if value in ("", NONE, *names) else unknown(value, names)


def unknown(value: str, names: Sequence[str]) -> str:
    """Return the message for a value that is none of `names`, with the nearest of them."""
    near = difflib.get_close_matches(value, names, n=1)
    nearest = f"; did you mean {near[0]!r}?" if near else ""
    return f"expected a name such as {names[0]!r}, or {NONE!r}, got {value!r}{nearest}"
