"""Do stages and explanations help? Trainings from scratch on generated samples.

    make evidence

The study is docs/explanation/evidence.md: its questions, how they are answered, and the answers.
`make evidence` writes the samples, runs a pipeline of this file for each question, and rebuilds the
page. To run one pipeline, or one of its steps, on samples that are there:

    teacherlm pipeline --config=configs/evidence.py:students --processes=2
    teacherlm train --config=configs/evidence.py:student/CMF/1000/seed-3

Variants:

    students  do students that read explanations answer better?
    stages    do teachers that are trained in stages answer and explain better?
    causes    what makes the difference: truth of the explanations, and which tokens are trained

and the steps of these, with the names that `--status` prints.

Settings after the variant, as in `students,seeds=2`:

    root   folder of the samples and of all runs (default: runs/evidence)
    seeds  number of seeds (default: 8)
    first  the first seed (default: 0; pilot runs have seeds of 1000 and above)
    short  the main effect of each question only, with at most four seeds
    tiny   a few steps of everything, as a smoke test; the models learn nothing
"""

import dataclasses
import os
import re
from collections.abc import Iterator

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError

FILE = os.path.relpath(__file__)
LENGTH, BATCH = 512, 1  # tokens of a row, and rows of a step
LOSS = "answer_and_explanations"
PERMUTED = "CMF-permuted"
FALSE_SHARES = (25, 50, 75, 100)

# Arms: the form of the training examples, and the author of their explanations.
STUDENTS = {form: (form, synthetic.AUTHOR) for form in config.FORMS} | {
    PERMUTED: ("CMF", "permuted")
}
CAUSES = {f"CMF-false{share}": ("CMF", f"false{share}") for share in FALSE_SHARES}
WHOLE_TEXT = "CMF-whole-text"  # loss on all tokens, the question's too
SHORT_ARMS, SHORT_CAUSES = ("text", "CMF", PERMUTED), ("CMF-false100",)

SIZES = {"small": (2, 64), "medium": (3, 96), "large": (4, 128)}  # layers and width
STUDENT, STUDENT_STEPS = "small", 2400
RATE = 1.5e-3
STAGES = ("stage1", "stage2", *(f"stage3_{kind}" for kind in KINDS))
BASE = {"stage2": "stage1", **dict.fromkeys(STAGES[2:], "stage2")}
STAGE_STEPS = {
    "stage1": 720,
    "stage2": 800,
    **dict.fromkeys(STAGES[2:], 250),
    "no_stage": 1520,  # those of stages 1 and 2
}


@dataclasses.dataclass(frozen=True)
class Study:
    """Settings of all steps."""

    root: str
    seeds: range
    short: bool
    tiny: bool

    @property
    def amounts(self) -> tuple[int, ...]:
        """Numbers of training samples of students."""
        return (1000,) if self.short or self.tiny else (250, 1000, 4000)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the students' arms."""
        return SHORT_ARMS if self.short or self.tiny else tuple(STUDENTS)


def get_config(argument: str = ""):
    """Return a pipeline, or the config of one of its steps."""
    name, given = variants.parse(
        argument, root="runs/evidence", seeds=8, first=0, short=False, tiny=False
    )
    seeds = 1 if given["tiny"] else min(given["seeds"], 4) if given["short"] else given["seeds"]
    study = Study(
        root=given["root"],
        seeds=range(given["first"], given["first"] + seeds),
        short=given["short"],
        tiny=given["tiny"],
    )
    if name in PIPELINES:
        steps = tuple({step.name: step for step in PIPELINES[name](study)}.values())
        return config.PipelineConfig(output=study.root, steps=steps)
    kind, *words = name.split("/")
    if kind in COMMANDS and re.fullmatch(COMMANDS[kind][0], name):
        return COMMANDS[kind][1](study, *words)
    steps = [step.name for pipeline in PIPELINES.values() for step in pipeline(study)]
    raise UserError(
        f"unknown variant {name!r}; known: {', '.join(PIPELINES)}, and steps such as "
        f"{steps[1]} and {steps[-1]}"
    )


def seed_of(word: str) -> int:
    """Return the seed in the last word of a step's name, such as `seed-3`."""
    return int(word.removeprefix("seed-"))


def samples_of(study: Study, seed: int) -> str:
    """Return the folder of the samples of a seed."""
    return f"{study.root}/samples/seed-{seed}"


def vocabulary_of(study: Study) -> config.VocabularyConfig:
    """Return the vocabulary of all models, which the first step trains."""
    return config.VocabularyConfig(f"{study.root}/vocabulary/all/vocabulary")


def step(
    study: Study, name: str, title: str, verb: str, inputs: tuple[str, ...]
) -> config.StepConfig:
    """Return a step whose config and run folder have its name."""
    return config.StepConfig(
        name=name,
        title=title,
        verb=verb,
        config=f"{FILE}:{name},root={study.root}{',tiny' if study.tiny else ''}",
        inputs=inputs,
        output=f"{study.root}/{name}",
    )


# The vocabulary and the data.


def vocabulary_step(study: Study) -> config.StepConfig:
    """Return the step that trains the vocabulary."""
    files = f"{study.root}/samples/vocabulary.jsonl"
    return step(study, "vocabulary", "train the vocabulary", "prepare", (files,))


def vocabulary(study: Study) -> config.PrepareConfig:
    """Train the vocabulary on samples of their own."""
    return config.PrepareConfig(
        output=f"{study.root}/vocabulary",
        root=f"{study.root}/samples",
        sources=(config.SourceConfig("vocabulary", "vocabulary.jsonl"),),
        mixtures=(config.MixtureConfig("all", forms=("CMF",), author=synthetic.AUTHOR),),
        vocabulary=config.VocabularyConfig(f"{study.root}/vocabulary/trained", size=1024),
        length=LENGTH,
    )


def student_data(study: Study, amount: str, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of all arms from the first samples of a seed."""
    arms = STUDENTS | CAUSES
    return config.PrepareConfig(
        output=f"{study.root}/student_data/{amount}/{seed}",
        root=samples_of(study, seed_of(seed)),
        sources=(config.SourceConfig("generated", "train.jsonl", limit=int(amount)),),
        mixtures=(
            *(
                config.MixtureConfig(arm, forms=(form,), author=author, loss=LOSS)
                for arm, (form, author) in arms.items()
            ),
            config.MixtureConfig(WHOLE_TEXT, forms=("CMF",), author=synthetic.AUTHOR, loss="text"),
        ),
        vocabulary=vocabulary_of(study),
        length=LENGTH,
        seed=seed_of(seed),
    )


# Students.


def students(study: Study) -> Iterator[config.StepConfig]:
    """Yield the steps of all arms with all amounts of samples."""
    yield vocabulary_step(study)
    for seed in study.seeds:
        for amount in study.amounts:
            yield from student_steps(study, study.arms, amount, seed)


def student_steps(
    study: Study, arms: tuple[str, ...], amount: int, seed: int
) -> Iterator[config.StepConfig]:
    """Yield the preparation of the data, and the trainings of the arms."""
    data = f"student_data/{amount}/seed-{seed}"
    files = samples_of(study, seed)
    title = f"prepare {amount} samples of seed {seed}"
    inputs = (f"{files}/train.jsonl", vocabulary_of(study).path)
    yield step(study, data, title, "prepare", inputs)
    for arm in arms:
        yield step(
            study,
            f"student/{arm}/{amount}/seed-{seed}",
            f"train a student: {arm}, {amount} samples, seed {seed}",
            "train",
            (f"{study.root}/{data}/{arm}", f"{files}/test.jsonl"),
        )


def student(study: Study, arm: str, amount: str, seed: str) -> config.TrainConfig:
    """Train a student from random weights, and validate it along the way."""
    return training(
        study,
        output=f"{study.root}/student/{arm}/{amount}/{seed}",
        data=f"{study.root}/student_data/{amount}/{seed}/{arm}",
        size=STUDENT,
        steps=STUDENT_STEPS,
        seed=seed_of(seed),
        measurements=12,
    )


def training(
    study: Study,
    *,
    output: str,
    data: str,
    size: str,
    steps: int,
    seed: int,
    measurements: int = 1,
    init_from: str = "",
    families: bool = False,
) -> config.TrainConfig:
    """Train with a constant rate, so that every step ends a training with a smaller budget."""
    layers, width = SIZES[size]
    steps = 12 if study.tiny else steps
    benchmarks = ("trained", "unseen") if families else ("test",)
    return config.TrainConfig(
        output=output,
        data=data,
        init_from=init_from,
        model=config.ModelConfig(
            layers=layers, width=width, heads=4, dtype="float32", initializer_range=0.08
        ),
        optimizer=config.OptimizerConfig(
            learning_rate=RATE, warmup_steps=min(50, steps // 2), b2=0.99
        ),
        batch_size=BATCH,
        steps=steps,
        seed=seed,
        log_every=100,
        compilation_cache=f"{study.root}/compiled",
        validation=config.ValidationConfig(
            every=steps // measurements,
            root=samples_of(study, seed),
            benchmarks=tuple(config.BenchmarkConfig(name, f"{name}.jsonl") for name in benchmarks),
            max_length=LENGTH,
        ),
    )


# Stages.


def stages(study: Study) -> Iterator[config.StepConfig]:
    """Yield the steps of staged and unstaged teachers of all sizes."""
    yield vocabulary_step(study)
    sizes = ("small",) if study.short or study.tiny else tuple(SIZES)
    for seed in study.seeds:
        for size in sizes:
            yield from teacher_steps(study, size, seed, STAGES[:2] if study.short else STAGES)


def teacher_steps(
    study: Study, size: str, seed: int, names: tuple[str, ...]
) -> Iterator[config.StepConfig]:
    """Yield the data, the trainings of one size and seed, and the explanations that they write."""
    files, data = samples_of(study, seed), f"stage_data/seed-{seed}"
    read = tuple(f"{files}/{name}.jsonl" for name in ("plain", "explained"))
    title = f"prepare the teachers' data of seed {seed}"
    yield step(study, data, title, "prepare", (*read, vocabulary_of(study).path))
    tests = tuple(f"{files}/{name}.jsonl" for name in ("trained", "unseen"))
    for stage in (*names, "no_stage"):
        before = [f"{study.root}/teacher/{size}/{BASE[stage]}/seed-{seed}"] if stage in BASE else []
        yield step(
            study,
            f"teacher/{size}/{stage}/seed-{seed}",
            f"train a {size} teacher: {stage}, seed {seed}",
            "train",
            (f"{study.root}/{data}/{stage}", *tests, *before),
        )
    writers = ("stage2", "no_stage", *(("specialists",) if len(names) > 2 else ()))
    for writer in writers:
        models = tuple(
            f"{study.root}/teacher/{size}/{name}/seed-{seed}" for name in models_of(writer).values()
        )
        yield step(
            study,
            f"explain/{size}/{writer}/seed-{seed}",
            f"explain with a {size} teacher: {writer}, seed {seed}",
            "annotate",
            (f"{files}/questions.jsonl", *dict.fromkeys(models)),
        )


def models_of(writer: str) -> dict[str, str]:
    """Return the stage that writes each kind of explanation."""
    specialists = writer == "specialists"
    return {kind: f"stage3_{kind}" if specialists else writer for kind in KINDS}


def stage_data(study: Study, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of all stages, and of the control that mixes stages 1 and 2."""
    mixture, part = config.MixtureConfig, config.PartConfig
    rich = {"sources": ("explained",), "author": synthetic.AUTHOR, "loss": LOSS}
    forms = {"cot": "C", "fundamental": "F", "mistake": "M"}
    return config.PrepareConfig(
        output=f"{study.root}/stage_data/{seed}",
        root=samples_of(study, seed_of(seed)),
        sources=tuple(
            config.SourceConfig(name, f"{name}.jsonl") for name in ("plain", "explained")
        ),
        mixtures=(
            mixture("stage1", sources=("plain",), forms=("text",), loss=LOSS),
            mixture("stage2", forms=tuple(forms.values()), **rich),
            *(mixture(f"stage3_{kind}", forms=(form,), **rich) for kind, form in forms.items()),
            mixture(
                "no_stage",
                forms=tuple(forms.values()),
                also=(part(sources=("plain",), forms=("text",)),),
                **rich,
            ),
        ),
        vocabulary=vocabulary_of(study),
        length=LENGTH,
        seed=seed_of(seed),
    )


def teacher(study: Study, size: str, stage: str, seed: str) -> config.TrainConfig:
    """Train one stage, or the control."""
    before = f"{study.root}/teacher/{size}/{BASE[stage]}/{seed}" if stage in BASE else ""
    return training(
        study,
        output=f"{study.root}/teacher/{size}/{stage}/{seed}",
        data=f"{study.root}/stage_data/{seed}/{stage}",
        size=size,
        steps=STAGE_STEPS[stage],
        seed=seed_of(seed),
        init_from=before,
        families=True,
    )


def explain(study: Study, size: str, writer: str, seed: str) -> config.AnnotateConfig:
    """Have a teacher write every kind for new questions; the gate `synthetic` checks them."""
    teachers = {
        kind: f"{study.root}/teacher/{size}/{model}/{seed}"
        for kind, model in models_of(writer).items()
    }
    return config.AnnotateConfig(
        output=f"{study.root}/explain/{size}/{writer}/{seed}",
        root=samples_of(study, seed_of(seed)),
        source=config.SourceConfig("questions", "questions.jsonl"),
        teachers=config.TeachersConfig(**teachers),
        sampling=config.SamplingConfig(
            temperature=1.0 if study.tiny else 0.3, max_new_tokens=8 if study.tiny else 64
        ),
        gates=("finished", "not_empty", "synthetic"),
        seed=seed_of(seed),
    )


# Causes.


def causes(study: Study) -> Iterator[config.StepConfig]:
    """Yield the arms that differ from CMF in one respect."""
    yield vocabulary_step(study)
    some = study.short or study.tiny
    arms = ("CMF", *(SHORT_CAUSES if some else (*CAUSES, WHOLE_TEXT)))
    for seed in study.seeds:
        yield from student_steps(study, arms, 1000, seed)


PIPELINES = {"students": students, "stages": stages, "causes": causes}
_ARM = "|".join((*STUDENTS, *CAUSES, WHOLE_TEXT))
_SIZE, _STAGE = "|".join(SIZES), "|".join((*STAGES, "no_stage"))
_SEED = r"seed-\d+"
COMMANDS = {  # names of steps, and the function that returns their config
    "vocabulary": ("vocabulary", vocabulary),
    "student_data": (rf"student_data/\d+/{_SEED}", student_data),
    "student": (rf"student/({_ARM})/\d+/{_SEED}", student),
    "stage_data": (f"stage_data/{_SEED}", stage_data),
    "teacher": (f"teacher/({_SIZE})/({_STAGE})/{_SEED}", teacher),
    "explain": (f"explain/({_SIZE})/(stage2|no_stage|specialists)/{_SEED}", explain),
}
