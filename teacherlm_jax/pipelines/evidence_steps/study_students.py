"""The students: arms that differ in the form, the truth or the author of their explanations."""

from collections.abc import Iterator, Sequence

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.pipelines.evidence_steps import study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import (
    LENGTH,
    LOSS,
    MAIN_AMOUNT,
    Study,
    seed_of,
    training,
    vocabulary_step,
    word_of,
)

SIZE, STEPS, VALIDATIONS = "small", 7200, 18
AMOUNTS = (250, 4000)  # other numbers of training samples
PERMUTED, PERMUTED_AUTHOR = "CMF-permuted", "permuted"
FALSE_SHARES = (25, 50, 75, 100)


def false_author(share: int) -> str:
    """Return the author under which `share` percent of the explanations are false."""
    return f"false{share}"


# Arms: the form of the training examples, and the author of their explanations.
STUDENTS = {form: (form, synthetic.AUTHOR) for form in config.FORMS} | {
    PERMUTED: ("CMF", PERMUTED_AUTHOR)
}
CAUSES = {f"CMF-{author}": ("CMF", author) for author in map(false_author, FALSE_SHARES)}
WHOLE_TEXT = "CMF-whole-text"  # loss on all tokens, the question's too
MAIN_STUDENTS = ("text", "CMF", PERMUTED)
SHORT_CAUSES = ("CMF", "CMF-false100")

# Arms with the explanations of a teacher: who writes them, and whether gates remove wrong ones.
WRITTEN = {
    "CMF-stage2": ("stage2", False),
    "CMF-stage2-checked": ("stage2", True),
    "CMF-specialists": ("specialists", False),
}


def students(study: Study) -> Iterator[config.StepConfig]:
    """Yield the steps of the primary comparisons."""
    yield from _of_amount(study, MAIN_AMOUNT, MAIN_STUDENTS)


def forms(study: Study) -> Iterator[config.StepConfig]:
    """Yield the steps of the other forms, and of `text`, with which they are compared."""
    others = [arm for arm in STUDENTS if arm not in MAIN_STUDENTS]
    yield from _of_amount(study, MAIN_AMOUNT, ["text", *(others[:1] if study.brief else others)])


def amounts(study: Study) -> Iterator[config.StepConfig]:
    """Yield the steps of the main forms with fewer and with more samples."""
    for amount in AMOUNTS[:1] if study.brief else AMOUNTS:
        yield from _of_amount(study, amount, MAIN_STUDENTS)


def _of_amount(study: Study, amount: int, arms: Sequence[str]) -> Iterator[config.StepConfig]:
    yield vocabulary_step(study)
    for seed in study.seeds:
        yield _preparation(study, amount, seed)
        for arm in arms:
            yield _training(study, arm, amount, seed)


def causes(study: Study) -> Iterator[config.StepConfig]:
    """Yield the arms that differ from CMF in one respect."""
    yield vocabulary_step(study)
    for seed in study.seeds:
        yield _preparation(study, MAIN_AMOUNT, seed)
        for arm in SHORT_CAUSES if study.brief else ("CMF", *CAUSES, WHOLE_TEXT):
            yield _training(study, arm, MAIN_AMOUNT, seed)


def written(study: Study) -> Iterator[config.StepConfig]:
    """Yield teachers, their explanations of the students' samples, and students who read these."""
    yield vocabulary_step(study)
    for seed in study.seeds:
        yield from study_teachers.trainings(study, study_teachers.MAIN_SIZE, seed)
        for writer in dict.fromkeys(writer for writer, _ in _written(study).values()):
            yield study_teachers.explanation(study, "write", study_teachers.MAIN_SIZE, writer, seed)
            name = f"written_data/{writer}/{word_of(seed)}"
            title = f"prepare what {writer} wrote, seed {seed}"
            read = f"{study.root}/write/{study_teachers.MAIN_SIZE}/{writer}/{word_of(seed)}"
            inputs = (f"{read}/samples", study.vocabulary().path)
            yield study.step(name, title, "prepare", inputs)
        yield _preparation(study, MAIN_AMOUNT, seed)
        for arm in ("text", "CMF", *_written(study)):
            yield _training(study, arm, MAIN_AMOUNT, seed)


def _written(study: Study) -> dict[str, tuple[str, bool]]:
    """Return the arms that read what teachers wrote; what tiny ones write passes no check."""
    return {arm: one for arm, one in WRITTEN.items() if not (study.tiny and one[1])}


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
            f"{study.samples(seed)}/test.jsonl",
        ),
    )


def data_of(arm: str, amount: int | str, seed: str) -> str:
    """Return the prepared data of an arm, relative to the folder of the study."""
    if arm in WRITTEN:
        return f"written_data/{WRITTEN[arm][0]}/{seed}/{arm}"
    return f"student_data/{amount}/{seed}/{arm}"


def student_data(study: Study, amount: str, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of all arms with the generator's explanations."""
    arms = [
        config.MixtureConfig(arm, forms=(form,), author=author, loss=LOSS)
        for arm, (form, author) in (STUDENTS | CAUSES).items()
    ]
    arms.append(
        config.MixtureConfig(WHOLE_TEXT, forms=("CMF",), author=synthetic.AUTHOR, loss="text")
    )
    source = config.SourceConfig("generated", f"train-{amount}.jsonl")
    output = f"{study.root}/student_data/{amount}/{seed}"
    return _prepared(study, output, study.samples(seed), source, arms)


def written_data(study: Study, writer: str, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of the arms that read what a teacher wrote."""
    arms = [
        config.MixtureConfig(arm, forms=("CMF",), author="teacher", loss=LOSS, checked_only=checked)
        for arm, (author, checked) in _written(study).items()
        if author == writer
    ]
    read = f"{study.root}/write/{study_teachers.MAIN_SIZE}/{writer}/{seed}/samples"
    source = config.SourceConfig("written", "*.jsonl")
    output = f"{study.root}/written_data/{writer}/{seed}"
    return _prepared(study, output, read, source, arms)


def _prepared(
    study: Study,
    output: str,
    root: str,
    source: config.SourceConfig,
    arms: Sequence[config.MixtureConfig],
) -> config.PrepareConfig:
    return config.PrepareConfig(
        output=output,
        root=root,
        sources=(source,),
        mixtures=tuple(arms),
        vocabulary=study.vocabulary(),
        length=LENGTH,
        seed=seed_of(output.rpartition("/")[2]),
    )


def student(study: Study, arm: str, amount: str, seed: str) -> config.TrainConfig:
    """Train a student from random weights, and validate it along the way."""
    return training(
        study,
        output=f"{study.root}/student/{arm}/{amount}/{seed}",
        data=f"{study.root}/{data_of(arm, amount, seed)}",
        size=SIZE,
        steps=STEPS,
        seed=seed_of(seed),
        benchmarks=("test",),
        validations=VALIDATIONS,
    )
