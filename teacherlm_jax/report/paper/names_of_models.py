"""Names for readers: of the paper's models, text forms and datasets."""

_FORMS = {"pretrained": "no training", "P3": "P3", "text": "P3-Sense-3K"}
_STAGES = {
    "stage1": "stage 1",
    "stage2": "stage 2",
    "stage3_cot": "C",
    "stage3_fundamental": "F",
    "stage3_mistake": "M",
    "no_stage": "no stage",
}
_AUTHORS = {"human": "human", "davinci": "text-davinci-003", "": "TeacherLM"}
_DATASETS = {
    "ecqa": "ECQA",
    "strategyqa": "StrategyQA",
    "creak": "CREAK",
    "mmlu": "MMLU",
    "p3": "P3-Sense-3K",
}
_DATA_COLUMNS = {"train": "training", "cot": "C", "fundamental": "F", "mistake": "M"}
_OTHERS = {
    "flan-palm-8b": "Flan-PaLM-8B",
    "glm-130b": "GLM-130B",
    "bloom-176b": "BLOOM-176B",
    "gopher-280b": "Gopher-280B",
}


def size(name: str) -> str:
    """Return 7b1 as `7.1B`, 560m as `560M`, and 1.3b as `1.3B`."""
    whole, letter, tenths = name.partition("b")
    return f"{whole}.{tenths}B" if letter and tenths else name.upper()


def teacher(name: str) -> str:
    """Return the teacher of a size, as in `TeacherLM-7.1B`."""
    return f"TeacherLM-{size(name)}"


def student(name: str) -> str:
    """Return bloomz-7b1 as `BLOOMZ 7.1B`."""
    family, _, rest = name.partition("-")
    shape, _, multi = rest.partition("-")
    return f"{family.upper()} {size(shape)}{' after multi-task training' if multi else ''}"


def stage(name: str) -> str:
    """Return the name of a stage in the paper's tables, as in `stage 1` or `C`."""
    return _STAGES[name]


def form(name: str) -> str:
    """Return the name of a student's training data in Table 7; the letters of forms stay."""
    return _FORMS.get(name, name)


def single_task_form(name: str) -> str:
    """Return C/human as `C, human`, and C as `C, TeacherLM`."""
    letters, _, author = name.partition("/")
    return letters if letters == "text" else f"{letters}, {_AUTHORS[author]}"


def dataset(name: str) -> str:
    """Return the name of a dataset or benchmark, by its format."""
    return _DATASETS[name]


def data_column(name: str) -> str:
    """Return the name of a column of Table 2."""
    return _DATA_COLUMNS.get(name, name)


def number_of_tasks(kind: str) -> str:
    """Return the students of a row of the hyper-parameters, by the number of their tasks."""
    return {"multi": "several tasks", "single": "single task"}[kind]


def setting(column: str) -> str:
    """Return the name of a column of the hyper-parameters."""
    return (
        f"tokens of {column[:-1]} {column[-1]}" if "stage" in column else column.replace("_", " ")
    )


def model(name: str) -> str:
    """Return the name of any model or dataset that `stands_for` takes."""
    role, of, *rest = name.split("/")
    if role == "data":
        return dataset(of)
    if role == "teacher":
        return f"{teacher(of)}, {stage(rest[0])}"
    if role == "other":
        return _OTHERS[of]
    if rest == ["pretrained"]:
        return f"{student(of)}, no training"
    task, training = rest[0], "/".join(rest[1:])
    if task == "multi":
        return f"{student(of)}, {form(training)}"
    return f"{student(of)}, {dataset(task)}, {single_task_form(training)}"


def subject(name: str) -> str:
    """Return a subject of MMLU with spaces, as samples have it."""
    return name.replace("_", " ")


def short_model(name: str) -> str:
    """Return the name of a model in Tables 5 and 6, where a size has one teacher."""
    role, of, *_ = name.split("/")
    return teacher(of) if role == "teacher" else _OTHERS[of]
