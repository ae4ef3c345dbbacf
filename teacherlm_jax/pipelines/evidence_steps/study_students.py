"""The students: arms that differ in the form, the truth or the author of their explanations."""

import dataclasses
from collections.abc import Iterable, Iterator

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.pipelines.evidence_steps import study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import (
    LENGTH,
    MAIN_AMOUNT,
    SIZES,
    Study,
    seed_of,
    training,
    vocabulary_step,
    word_of,
)

SIZE, STEPS, VALIDATIONS = "small", 7200, 18
LOSS = "answer_and_explanations"
AMOUNTS = (250, 4000)  # other numbers of training samples
PERMUTED, PERMUTED_AUTHOR = "CMF-permuted", "permuted"
FALSE_SHARES = (25, 50, 75, 100)


@dataclasses.dataclass(frozen=True)
class Arm:
    """Training examples of a student.

    Attributes:
        forms: forms of its training examples; each sample gives one text of each form.
        author: author of the explanations in them.
        loss: which tokens are trained, a value of `MixtureConfig.loss`.
        writer: teacher that explained its samples; empty: they are the generator's.
        checked: whether texts with an explanation that fails the generator's check are left out.
    """

    forms: tuple[str, ...]
    author: str = synthetic.AUTHOR
    loss: str = LOSS
    writer: str = ""
    checked: bool = False


def false_author(share: int) -> str:
    """Return the author under which `share` percent of the explanations are false."""
    return f"false{share}"


ARMS = {
    **{form: Arm((form,)) for form in config.FORMS},
    PERMUTED: Arm(("CMF",), PERMUTED_AUTHOR),
    **{f"CMF-{author}": Arm(("CMF",), author) for author in map(false_author, FALSE_SHARES)},
    "text-whole-text": Arm(("text",), loss="text"),
    "CMF-whole-text": Arm(("CMF",), loss="text"),
    "CMF-answer": Arm(("CMF",), loss="answer"),
}
TAUGHT_ARMS = {  # all have the samples that teachers explain
    "taught-text": Arm(("text",), writer="stage2"),
    "taught-CMF": Arm(("CMF",), writer="stage2"),
    "taught-stage2": Arm(("CMF",), "teacher", writer="stage2"),
    "taught-specialists": Arm(("CMF",), "teacher", writer="specialists"),
    "taught-each": Arm(("C", "M", "F"), "teacher", writer="stage2"),
    "taught-each-checked": Arm(("C", "M", "F"), "teacher", writer="stage2", checked=True),
}
MAIN_ARMS = ("text", "CMF", PERMUTED)
ADDED = {  # arms that each part of the study adds
    "students": MAIN_ARMS,
    "forms": tuple(form for form in config.FORMS if form not in MAIN_ARMS),
    "causes": tuple(arm for arm in ARMS if arm not in (*config.FORMS, PERMUTED)),
    "amounts": MAIN_ARMS,
    "taught": tuple(TAUGHT_ARMS),
}
BASES = {"forms": "text", "causes": "CMF"}  # the arm of another part that they are compared with
_BRIEF = {"forms": ("C",), "causes": ("CMF-false100",), "taught": tuple(TAUGHT_ARMS)[:3]}


def arms(study: Study, part: str) -> tuple[str, ...]:
    """Return the arms that a part trains, first the one that others are compared with."""
    added = _BRIEF.get(part, ADDED[part]) if study.brief else ADDED[part]
    return (*([BASES[part]] if part in BASES else []), *added)


def amounts_of(part: str) -> tuple[int, ...]:
    """Return the numbers of training samples of the arms of a part."""
    return AMOUNTS if part == "amounts" else (MAIN_AMOUNT,)


def of_part(study: Study, part: str) -> Iterator[config.StepConfig]:
    """Yield the steps of a part of the study, a key of `ADDED`."""
    yield vocabulary_step(study)
    for seed in study.seeds:
        if part == "taught":
            yield from _teachers(study, seed)
        amounts = amounts_of(part)
        for amount in amounts[:1] if study.brief else amounts:
            if part != "taught":
                yield _preparation(study, amount, seed)
            for arm in arms(study, part):
                yield _training(study, arm, amount, seed)


def _teachers(study: Study, seed: int) -> Iterator[config.StepConfig]:
    """Yield teachers, their explanations of the students' samples, and the data made of these."""
    size = study_teachers.MAIN_SIZE
    writers = dict.fromkeys(TAUGHT_ARMS[arm].writer for arm in arms(study, "taught"))
    yield from study_teachers.trainings(study, size, seed, study_teachers.stages_of(writers))
    for writer in writers:
        yield study_teachers.explanation(study, "write", size, writer, seed)
        name = f"taught_data/{writer}/{word_of(seed)}"
        inputs = (_written(study, writer, word_of(seed)), study.vocabulary().path)
        yield study.step(name, f"prepare what {writer} wrote, seed {seed}", "prepare", inputs)


def _preparation(study: Study, amount: int, seed: int) -> config.StepConfig:
    title = f"prepare {amount} samples of seed {seed}"
    inputs = (f"{study.samples(seed)}/train-{amount}.jsonl", study.vocabulary().path)
    return study.step(f"student_data/{amount}/{word_of(seed)}", title, "prepare", inputs)


def _training(study: Study, arm: str, amount: int, seed: int) -> config.StepConfig:
    return study.step(
        f"student/{arm}/{amount}/{word_of(seed)}",
        f"train a student: {arm}, {amount} samples, seed {seed}",
        "train",
        (
            f"{study.root}/{data_of(arm, amount, word_of(seed))}",
            f"{study.samples(seed)}/{_test_of(arm)}",
        ),
    )


def data_of(arm: str, amount: int | str, seed: str) -> str:
    """Return the prepared data of an arm, relative to the folder of the study."""
    if arm in TAUGHT_ARMS:
        return f"taught_data/{TAUGHT_ARMS[arm].writer}/{seed}/{arm}"
    return f"student_data/{amount}/{seed}/{arm}"


def _test_of(arm: str) -> str:
    """Return the file of an arm's test questions: of the families that it was trained on."""
    return "trained.jsonl" if arm in TAUGHT_ARMS else "test.jsonl"


def _written(study: Study, writer: str, seed: str) -> str:
    return f"{study.root}/write/{study_teachers.MAIN_SIZE}/{writer}/{seed}/samples"


def student_data(study: Study, amount: str, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of all arms with the generator's explanations."""
    return _prepared(
        study,
        output=f"{study.root}/student_data/{amount}/{seed}",
        root=study.samples(seed_of(seed)),
        source=config.SourceConfig("generated", f"train-{amount}.jsonl"),
        names=ARMS,
        seed=seed,
    )


def taught_data(study: Study, writer: str, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of the arms whose samples a teacher explained."""
    return _prepared(
        study,
        output=f"{study.root}/taught_data/{writer}/{seed}",
        root=_written(study, writer, seed),
        source=config.SourceConfig("written", "*.jsonl"),
        names=[arm for arm in arms(study, "taught") if TAUGHT_ARMS[arm].writer == writer],
        seed=seed,
    )


def _prepared(
    study: Study,
    *,
    output: str,
    root: str,
    source: config.SourceConfig,
    names: Iterable[str],
    seed: str,
) -> config.PrepareConfig:
    return config.PrepareConfig(
        output=output,
        root=root,
        sources=(source,),
        mixtures=tuple(mixture(name, (ARMS | TAUGHT_ARMS)[name]) for name in names),
        vocabulary=study.vocabulary(),
        length=LENGTH,
        seed=seed_of(seed),
    )


def mixture(name: str, arm: Arm) -> config.MixtureConfig:
    """Return the mixture of an arm."""
    return config.MixtureConfig(
        name, forms=arm.forms, author=arm.author, loss=arm.loss, checked_only=arm.checked
    )


def student(study: Study, arm: str, amount: str, seed: str) -> config.TrainConfig:
    """Train a student from random weights, and validate it along the way."""
    divisor = 2 if study.short else 1
    return training(
        study,
        output=f"{study.root}/student/{arm}/{amount}/{seed}",
        data=f"{study.root}/{data_of(arm, amount, seed)}",
        shape=SIZES[SIZE],
        steps=STEPS // divisor,
        seed=seed_of(seed),
        questions=study.samples(seed_of(seed)),
        benchmarks={"test": _test_of(arm)},
        validations=VALIDATIONS // divisor,
    )
