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
    tiny  every kind of step with toy models on generated data, in about a minute on two cores

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
from teacherlm_jax.config import paper_models, variants
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.generated_data import P3_DATASET
from teacherlm_jax.sources import p3

HERE = os.path.relpath(os.path.dirname(__file__))
TEACHER_OF_THE_PAPER = "7b1"
KINDS = ("cot", "fundamental", "mistake")
FORMS = (*config.FORMS, paper_models.ORIGINAL)

# Slices on which the runs fit, and seconds of a step, from the tables in configs/teacher.py and
# configs/student.py: `plan` compiled these programs.
TEACHERS = {
    "560m": ("v5e:4x4", 1.4),
    "1b1": ("v5e:4x4", 4.1),
    "3b": ("v5e:4x8", 6.1),
    "7b1": ("v5e:8x8", 7.2),
    "176b": ("v5p:8x8x4", 23.5),
}
STUDENTS = {
    "1b1": ("v5e:2x4", 3.3),
    "1.3b": ("v5e:2x4", 3.6),
    "3b": ("v5e:4x4", 3.9),
    "2.7b": ("v5e:4x4", 3.6),
    "7b1": ("v5e:4x8", 4.5),
    "6.7b": ("v5e:4x8", 4.3),
}
SINGLE_TASK = 1.1
ANNOTATE = "v5e:4x4"
SPLIT = ("--config.mesh.data=1", "--config.mesh.tensor=16")  # two of the 32 heads on each chip
WHOLE = ("--config.mesh.data=1", "--config.mesh.fsdp=-1")

# For estimates. Samples, and tokens of explanations, are the paper's. Guesses are the tokens of
# questions with their answers, of all that the teacher's six mixtures hold, and the samples of the
# original P3, from the sizes of its datasets and the numbers of their prompts.
SAMPLES = {"multi": 1_400_364, "creak": 10_174, "ecqa": 7_598, "strategyqa": 1_832, "P3": 10**8}
QUESTION = {"multi": 250, "creak": 40, "ecqa": 60, "strategyqa": 30, "P3": 250}
TEACHER_SAMPLES, TEACHER_TOKENS = 1_400_364 + 1_155_767 + 2_000_000, 6e9
QUESTIONS = {"creak": 1_371, "ecqa": 2_194, "strategyqa": 228, "mmlu": 14_042}
EVALUATED = 150  # tokens of a question with its options
EXPLANATION = {  # tokens of a chain of thought, fundamentals and common mistakes, from Table 2
    "multi": (49, 135, 54),
    "creak": (71, 190, 48),
    "ecqa": (75, 186, 53),
    "strategyqa": (90, 192, 55),
}
LENGTH, ROWS = 2048, {"multi": (256, 1), "task": (64, 10)}  # rows of a step, and epochs


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the steps have in common: the settings, and the teacher that explains."""

    size: str
    root: str
    data: str
    models: str
    students: tuple[str, ...]
    forms: tuple[str, ...]
    tasks: tuple[str, ...]
    server: str
    attention: str
    tiny: bool

    @property
    def teacher(self) -> str:
        """Folder of the runs of the teacher."""
        return f"{self.root}/teacher/{self.size}"

    @property
    def label(self) -> tuple[str, ...]:
        """Argument of students that stand for no cell of the paper."""
        of_paper = self.tiny or self.size == TEACHER_OF_THE_PAPER
        return () if of_paper else ("--config.stands_for=none",)

    def model(self, name: str) -> str:
        """Return the path or address of a published model; empty in the toy form."""
        if self.tiny:
            return ""
        organization = "facebook" if name.startswith("opt") else "bigscience"
        published = "bloom" if name == "bloom-176b" else name
        return f"{self.models}/{name}" if self.models else f"hf://{organization}/{published}"

    @property
    def authors(self) -> tuple[str, ...]:
        """Authors of the explanations of single tasks; "" is the teacher."""
        return ("",) if self.tiny else ("", "human", *(("davinci",) if self.server else ()))

    @property
    def task_forms(self) -> tuple[str, ...]:
        """Forms of the students of single tasks whose explanations there are."""
        known = [form for form in paper_models.SINGLE_TASK_FORMS if self.has(form)]
        return ("C",) if self.tiny else tuple(known)

    def has(self, form: str) -> bool:
        """Return whether there are explanations by the author of a form."""
        return bool(self.server) or not form.endswith("/davinci")

    def settings(self, **values: str) -> str:
        """Return settings of a variant, those with a value."""
        given = {key: value for key, value in values.items() if value}
        return "".join(f",{key}={value}" for key, value in given.items())

    def vocabulary(self, family: str) -> str:
        """Return the tokenizer of a family; in the toy form, the one that the first step trains."""
        if self.tiny:
            return f"{self.root}/teacher/teacher_data/teacher_stage1/vocabulary"
        return self.model("opt-1.3b" if family == "opt" else "bloom-7b1")


def get_config(argument: str = "") -> config.PipelineConfig:
    """Return the pipeline of one size."""
    variant, given = variants.parse(
        argument,
        root="",
        data="",
        models="",
        students="",
        forms="",
        tasks="",
        server="",
        attention="",
    )
    if variant not in (*paper_models.SIZES, "tiny"):
        known = ", ".join((*paper_models.SIZES, "tiny"))
        raise UserError(f"unknown variant {variant!r}; known: {known}")
    tiny = variant == "tiny"
    root = given["root"] or f"runs/paper{'_tiny' if tiny else ''}"
    plan = Plan(
        size="560m" if tiny else variant,
        root=root,
        data=given["data"] or (f"{root}/data" if tiny else "data"),
        models=given["models"],
        students=_chosen(given, "students", ("bloomz-7b1",) if tiny else paper_models.STUDENTS),
        forms=_chosen(given, "forms", ("CMF",) if tiny else FORMS),
        tasks=_chosen(given, "tasks", ("creak",) if tiny else paper_models.TASKS),
        server=given["server"],
        attention=given["attention"],
        tiny=tiny,
    )
    found = tuple(steps(plan))
    if tiny:  # its data have other sizes than the paper's
        found = tuple(
            dataclasses.replace(step, slice="", step_seconds=0.0, rows=0, tokens=0.0)
            for step in found
        )
    return config.PipelineConfig(output=root, steps=found, generated="paper" if tiny else "")


def _chosen(given: dict[str, str], key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    known = {"students": paper_models.STUDENTS, "forms": FORMS, "tasks": paper_models.TASKS}[key]
    chosen = variants.chosen(given[key], names)
    for name in chosen:
        if name not in known:
            raise UserError(f"{key}: unknown {name!r}; known: {', '.join(known)}")
    return chosen


def steps(plan: Plan) -> Iterator[config.StepConfig]:
    """Yield all steps, each after those that it needs."""
    found = [*teacher(plan)]
    if plan.size != "176b":
        found += [*explanations(plan), *student_data(plan), *students(plan)]
    models = [step for step in found if step.verb == "train" and evaluated(plan, step.name)]
    found += [evaluation(plan, step.name, step.output, step.slice) for step in models]
    if plan.size != "176b" and not plan.tiny:
        found += [
            evaluation(plan, f"student/{name}/pretrained", plan.model(name), slice_of(name)[0])
            for name in plan.students
        ]
    yield from found
    read = tuple(step.output for step in found if step.verb in ("train", "annotate", "evaluate"))
    yield report("report", "fill the paper's tables", plan, "--paper", read)
    if plan.label:
        yield report("report_runs", "report all runs", plan, "", read)


def evaluated(plan: Plan, name: str) -> bool:
    """Return whether a model is evaluated; in the toy form, one of each kind is."""
    return not plan.tiny or name.endswith(("/stage3_cot", "/multi/CMF"))


def report(
    name: str, title: str, plan: Plan, kind: str, read: tuple[str, ...]
) -> config.StepConfig:
    """Return a report on all runs."""
    output = f"{plan.root}/{name}"
    where = (f"--config.root={plan.root}", f"--config.output={output}")
    return config.StepConfig(
        name=name,
        title=title,
        verb="report",
        arguments=(*((kind,) if kind else ()), *where),
        inputs=read,
        output=output,
    )


def teacher(plan: Plan) -> Iterator[config.StepConfig]:
    """Yield the data of the teacher, its three stages, the specialists and the control."""
    root, data = f"{plan.root}/teacher", f"{plan.root}/teacher/teacher_data"
    only = f",vocabulary={plan.vocabulary('bloom')}"
    if plan.tiny:
        only = f",p3={P3_DATASET},muffin=none,vocabulary={plan.root}/vocabulary,pieces=1000"
    yield config.StepConfig(
        name="teacher_data",
        title="prepare the data of the teacher",
        verb="prepare",
        config=f"{HERE}/teacher_data.py:all,layout=parquet,data={plan.data}{only},root={root}",
        arguments=("--config.length=256",) if plan.tiny else (),
        inputs=tuple(
            f"{plan.data}/{folder}"
            for folder in ("P3", "tfds", "teacher_data")
            if not (plan.tiny and folder == "tfds")
        ),
        output=data,
        rows=TEACHER_SAMPLES,
        tokens=TEACHER_TOKENS,
    )
    for name in paper_models.TEACHERS:
        _, size, stage = name.split("/")
        if size == plan.size and not (plan.tiny and stage == "no_stage"):
            yield stage_of(plan, stage, root, data)


def stage_of(plan: Plan, stage: str, root: str, data: str) -> config.StepConfig:
    """Return the training of one stage."""
    mmlu = f"{plan.data}/eval/mmlu_test.jsonl"
    base = plan.model(f"bloom-{plan.size}")
    before = {"stage2": "stage1"} | {f"stage3_{kind}": "stage2" for kind in KINDS}
    start = f"{root}/{plan.size}/{before[stage]}" if stage in before else base
    if plan.size == "176b":
        start = base
    values = plan.settings(root=root, data=data, base=base, mmlu=mmlu, attention=plan.attention)
    return config.StepConfig(
        name=f"teacher/{plan.size}/{stage}",
        title=f"train the teacher: {stage}",
        verb="train",
        config=f"{HERE}/teacher.py:{plan.size}/{stage}{values}{',tiny' if plan.tiny else ''}",
        inputs=tuple(filter(None, (f"{data}/teacher_{stage}", mmlu, start))),
        output=f"{plan.teacher}/{stage}",
        slice=TEACHERS[plan.size][0],
        step_seconds=TEACHERS[plan.size][1],
    )


def explanations(plan: Plan) -> Iterator[config.StepConfig]:
    """Yield the annotations of P3-Sense-3K and of the single tasks."""
    tasks = [source.name for source in p3.sources(layout="parquet")]
    index = tasks.index(p3.tasks(P3_DATASET)[0])
    toy = ("--config.sampling.max_new_tokens=8", "--config.slots=8") if plan.tiny else SPLIT
    specialists = tuple(f"{plan.teacher}/stage3_{kind}" for kind in KINDS)
    none = plan.label
    yield config.StepConfig(
        name="annotate/p3",
        title="explain P3-Sense-3K",
        verb="annotate",
        config=f"{HERE}/annotate_p3.py:data={plan.data}/P3,root={plan.teacher}",
        arguments=(f"--sweep_index={index}" if plan.tiny else "--sweep_all", *toy, *none),
        inputs=(f"{plan.data}/P3", *specialists),
        output=f"{plan.teacher}/annotate",
        slice=ANNOTATE,
        rows=SAMPLES["multi"],
        tokens=QUESTION["multi"],
    )
    for task in plan.tasks:
        for author in ("", *(("davinci",) if plan.server else ())):
            variant = f"{task}/{author}" if author else task
            yield config.StepConfig(
                name=f"annotate/{variant}",
                title=f"explain {task}{' by a model on a server' if author else ''}",
                verb="annotate",
                config=f"{HERE}/annotate_task.py:{variant},data={plan.data}/rationale,"
                f"root={plan.teacher}{plan.settings(server=plan.server if author else '')}",
                arguments=none if author else (*toy, *none),
                inputs=(
                    f"{plan.data}/rationale/{task}_train.jsonl",
                    *(() if author else specialists),
                    # One after the other, the second one finds the programs of the first.
                    *((f"{plan.teacher}/annotate",) if plan.tiny else ()),
                ),
                output=f"{plan.teacher}/annotate_{variant.replace('/', '_')}",
                slice="" if author else ANNOTATE,
                rows=SAMPLES[task],
                tokens=QUESTION[task],
            )


def family_of(student: str) -> str:
    """Return the family of a student; BLOOM and BLOOMZ have one tokenizer."""
    return "opt" if student.startswith("opt") else "bloom"


def slice_of(student: str) -> tuple[str, float]:
    """Return the slice of a student, and the seconds of its step of `multi` there."""
    return STUDENTS[student.partition("-")[2]]


def student_root(plan: Plan, family: str) -> str:
    """Return the folder of the data of a family."""
    return f"{plan.root}/student{'_opt' if family == 'opt' else ''}"


def student_data(plan: Plan) -> Iterator[config.StepConfig]:
    """Yield the data of the students, for each tokenizer."""
    families = dict.fromkeys(map(family_of, plan.students))
    explained = [form for form in plan.forms if form != paper_models.ORIGINAL]
    for family in families:
        sets: list[tuple[str, str, str, int]] = []
        if explained:
            files, read = ",files=*/samples/*.jsonl", f"{plan.teacher}/annotate"
            sets.append(("multi", f"multi{files}", read, config.FORMS))
        if len(explained) < len(plan.forms):
            only = f",datasets={P3_DATASET}" if plan.tiny else ""
            sets.append(("p3", f"p3{only}", f"{plan.data}/P3", ("P3",)))
        if family == "bloom" and "bloomz-7b1" in plan.students:
            for task in plan.tasks:
                for author in plan.authors:
                    annotated = f"{task}_davinci" if author == "davinci" else task
                    variant = f"{task}/{author}" if author else task
                    forms = {"human": ("C",), "davinci": ("C", "F", "M")}.get(author, config.FORMS)
                    sets.append((variant, variant, f"{plan.teacher}/annotate_{annotated}", forms))
        for name, variant, read, forms in sets:
            yield preparation(plan, family, name, variant, read, forms)


def preparation(
    plan: Plan, family: str, name: str, variant: str, read: str, forms: tuple[str, ...]
) -> config.StepConfig:
    """Return the preparation of one set of students' data."""
    root = student_root(plan, family)
    suffix = "_opt" if family == "opt" else ""
    return config.StepConfig(
        name=f"student_data{suffix}/{name}",
        title=f"prepare the data of {family.upper()} students: {name}",
        verb="prepare",
        config=f"{HERE}/student_data.py:{variant},data={read},root={root},"
        f"vocabulary={plan.vocabulary(family)}",
        arguments=("--config.length=256",) if plan.tiny else (),
        inputs=(read, plan.vocabulary(family)),
        output=f"{root}/{name.replace('/', '_')}_data",
        rows=SAMPLES["P3" if name == "p3" else name.partition("/")[0]],
        tokens=float(sum(tokens_of(name.partition("/")[0], form) for form in forms)),
    )


def students(plan: Plan) -> Iterator[config.StepConfig]:
    """Yield the trainings of all students."""
    for student in plan.students:
        for form in plan.forms:
            yield student_of(plan, student, "multi", form, plan.model(student))
    if "bloomz-7b1" not in plan.students:
        return
    for student in paper_models.SINGLE_TASK_STUDENTS:
        base = plan.model("bloomz-7b1")
        if plan.tiny and student == "bloomz-7b1":
            continue  # the one that was a multi-task student before is enough
        if student.endswith(paper_models.MULTI_FIRST):
            if "CMF" not in plan.forms:
                continue
            base = f"{plan.root}/student/bloomz-7b1/multi_CMF/checkpoints/best"
        for task in plan.tasks:
            for form in plan.task_forms:
                yield student_of(plan, student, task, form, base)


def student_of(plan: Plan, student: str, which: str, form: str, base: str) -> config.StepConfig:
    """Return the training of one student."""
    family, multi = family_of(student), which == "multi"
    tpu_slice, seconds = slice_of(student.removesuffix(paper_models.MULTI_FIRST))
    letters, _, author = form.partition("/")
    original = letters == paper_models.ORIGINAL
    set_name = "p3" if original else f"{which}_{author}" if author else which
    data = f"{student_root(plan, family)}/{set_name}_data"
    evaluation_file = {"multi": "mmlu_test", "strategyqa": "strategy_qa"}.get(which, which)
    values = plan.settings(
        data=data,
        root=f"{plan.root}/student",
        base=base,
        eval=f"{plan.data}/eval",
        attention=plan.attention,
    )
    written = f"{HERE}/student.py:{student}/{which}/{form}{values}{',tiny' if plan.tiny else ''}"
    prepared = f"{data}/student_{'text' if original else letters}"
    return config.StepConfig(
        name=f"student/{student}/{which}/{form}",
        title=f"train {student} on {which}: {form}",
        verb="train",
        config=written,
        planned=f"{written},steps={steps_of(which, letters)}",
        arguments=plan.label,
        inputs=tuple(
            filter(None, (prepared, f"{plan.data}/eval/{evaluation_file}.jsonl", run_of(base)))
        ),
        output=f"{plan.root}/student/{student}/{which}_{form.replace('/', '_')}",
        slice=tpu_slice,
        step_seconds=seconds if multi else SINGLE_TASK,
    )


def run_of(model: str) -> str:
    """Return the run folder of a checkpoint, or the model itself."""
    return model.removesuffix("/checkpoints/best")


def tokens_of(which: str, form: str) -> int:
    """Return the estimated tokens of a set of samples in a form."""
    if form == paper_models.ORIGINAL:
        return SAMPLES[form] * QUESTION[form]
    lengths = dict(zip("CFM", EXPLANATION[which], strict=True))
    letters = {"text": "", "shuffle": "CFM"}.get(form, form)
    return SAMPLES[which] * (QUESTION[which] + sum(lengths[letter] for letter in letters))


def steps_of(which: str, form: str) -> int:
    """Return the estimated number of steps of a student whose data do not exist yet."""
    rows, epochs = ROWS["multi" if which == "multi" else "task"]
    return -(-tokens_of(which, form) * epochs // (rows * LENGTH))


def evaluation(plan: Plan, name: str, model: str, tpu_slice: str) -> config.StepConfig:
    """Return the evaluation of a model under its name in the paper."""
    trained = name in paper_models.TRAINED
    best = f"{model}/checkpoints/best" if trained else model
    student = name.startswith("student/") and trained
    return config.StepConfig(
        name=f"evaluate/{name}",
        title=f"evaluate {name}",
        verb="evaluate",
        config=f"{HERE}/evaluate_paper.py:{name},model={best},root={plan.root},"
        f"eval={plan.data}/eval",
        arguments=(
            *(("--config.max_length=256",) if plan.tiny else WHOLE),
            *(plan.label if student else ()),
        ),
        inputs=(model, f"{plan.data}/eval"),
        output=f"{plan.root}/evaluate/{name}",
        slice=tpu_slice,
        rows=sum(QUESTIONS[benchmark] for benchmark in benchmarks_of(name)),
        tokens=EVALUATED,
    )


def benchmarks_of(name: str) -> tuple[str, ...]:
    """Return the benchmarks of a model, as configs/evaluate_paper.py has them."""
    role, _, *training = name.split("/")
    task = training[0] if role == "student" and training[0] in paper_models.TASKS else ""
    return ("mmlu",) if role == "teacher" else (task,) if task else tuple(QUESTIONS)
