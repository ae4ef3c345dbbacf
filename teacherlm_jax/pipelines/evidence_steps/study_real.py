"""Students on real questions, with the explanations that people wrote for them."""

from collections.abc import Iterator

from teacherlm_jax import config
from teacherlm_jax.pipelines.evidence_steps.study import (
    LENGTH,
    SIZES,
    Study,
    seed_of,
    training,
    word_of,
)
from teacherlm_jax.pipelines.evidence_steps.study_students import PERMUTED_AUTHOR, Arm, mixture

PART = "real"
SHAPE, STEPS, VALIDATIONS = SIZES["medium"], 4800, 6
VOCABULARY_SIZE = 4000
SETS = ("creak", "ecqa", "strategyqa")
HUMAN = "human"
ARMS = {
    "text": Arm(("text",), HUMAN),
    "C": Arm(("C",), HUMAN),
    "C-permuted": Arm(("C",), PERMUTED_AUTHOR),
}
# Questions of the training files that are left out of the training, and the paper's.
BENCHMARKS = (*(f"{name}_held_out" for name in SETS), *SETS)


def samples(study: Study) -> str:
    """Return the folder of the real samples."""
    return f"{study.root}/samples/{PART}"


def of_part(study: Study, part: str) -> Iterator[config.StepConfig]:
    """Yield the preparation of the real samples, and the trainings of all arms."""
    data = f"{part}_data"
    yield study.step(
        data, "prepare the real samples", "prepare", (f"{samples(study)}/train.jsonl",)
    )
    tests = tuple(f"{samples(study)}/{name}.jsonl" for name in BENCHMARKS)
    arms = tuple(ARMS)[:2] if study.short else tuple(ARMS)
    for seed in study.seeds:
        for arm in arms:
            yield study.step(
                f"{part}/{arm}/{word_of(seed)}",
                f"train a student on real samples: {arm}, seed {seed}",
                "train",
                (f"{study.root}/{data}/{arm}", *tests),
            )


def real_data(study: Study) -> config.PrepareConfig:
    """Train a vocabulary on the samples, and prepare the mixtures of all arms."""
    return config.PrepareConfig(
        output=f"{study.root}/{PART}_data",
        root=samples(study),
        sources=(config.SourceConfig("rationales", "train.jsonl"),),
        mixtures=tuple(mixture(*arm) for arm in ARMS.items()),
        vocabulary=config.VocabularyConfig(
            f"{study.root}/{PART}_data/vocabulary", size=600 if study.tiny else VOCABULARY_SIZE
        ),
        length=LENGTH,
    )


def student(study: Study, arm: str, seed: str) -> config.TrainConfig:
    """Train a student from random weights; seeds differ in weights and in the order of samples."""
    return training(
        study,
        output=f"{study.root}/{PART}/{arm}/{seed}",
        data=f"{study.root}/{PART}_data/{arm}",
        shape=SHAPE,
        steps=STEPS,
        seed=seed_of(seed),
        questions=samples(study),
        benchmarks={name: f"{name}.jsonl" for name in BENCHMARKS},
        validations=VALIDATIONS,
    )
