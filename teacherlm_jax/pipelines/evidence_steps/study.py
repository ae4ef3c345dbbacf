"""Settings, paths, the vocabulary and the way of training, which all steps of the study share."""

import dataclasses
from collections.abc import Mapping

from teacherlm_jax import config
from teacherlm_jax.data import synthetic

LENGTH, BATCH = 512, 1  # tokens of a row, and rows of a step
RATE = 1.5e-3
SIZES = {"small": (2, 64), "medium": (3, 96), "large": (4, 128)}  # layers and width
MAIN_AMOUNT = 1000  # training samples of the primary comparisons
SEEDS, SHORT_SEEDS = 10, 4  # of the whole study, and of its short form


@dataclasses.dataclass(frozen=True)
class Study:
    """Settings of all steps.

    Attributes:
        file: the config file of the steps.
        root: folder of the samples and of all runs.
        seeds: seeds of samples and weights.
        short: only the main effect of each question, and students on generated samples with half of
            the steps.
        tiny: a few steps of everything, as a smoke test.
    """

    file: str
    root: str
    seeds: range
    short: bool
    tiny: bool

    @property
    def brief(self) -> bool:
        """Return whether the study is cut to its main effects."""
        return self.short or self.tiny

    def samples(self, seed: int) -> str:
        """Return the folder of the samples of a seed."""
        return f"{self.root}/samples/{word_of(seed)}"

    def vocabulary(self) -> config.VocabularyConfig:
        """Return the vocabulary of all models, which the first step trains."""
        return config.VocabularyConfig(f"{self.root}/vocabulary/all/vocabulary")

    def step(self, name: str, title: str, verb: str, inputs: tuple[str, ...]) -> config.StepConfig:
        """Return a step whose config and run folder have its name."""
        form = ",short" * self.short + ",tiny" * self.tiny
        return config.StepConfig(
            name=name,
            title=title,
            verb=verb,
            config=f"{self.file}:{name},root={self.root}{form}",
            inputs=inputs,
            output=f"{self.root}/{name}",
        )


def chosen_seeds(first: int, count: int, *, short: bool, tiny: bool) -> range:
    """Return the seeds of a study from the first one: at most SHORT_SEEDS if short, 1 if tiny."""
    return range(first, first + min(count, 1 if tiny else SHORT_SEEDS if short else count))


def word_of(seed: int) -> str:
    """Return the word for a seed in the names of steps, such as `seed-3`."""
    return f"seed-{seed}"


def seed_of(word: str) -> int:
    """Return the seed of a word such as `seed-3`."""
    return int(word.removeprefix("seed-"))


def vocabulary_step(study: Study) -> config.StepConfig:
    """Return the step that trains the vocabulary."""
    files = f"{study.root}/samples/vocabulary.jsonl"
    return study.step("vocabulary", "train the vocabulary", "prepare", (files,))


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


def _model(layers: int, width: int) -> config.ModelConfig:
    return config.ModelConfig(
        layers=layers,
        width=width,
        heads=4,
        dtype="float32",
        initializer_range=0.08,
        attention="blockwise",
    )


def training(
    study: Study,
    *,
    output: str,
    data: str,
    shape: tuple[int, int],
    steps: int,
    seed: int,
    questions: str,
    benchmarks: Mapping[str, str],
    validations: int = 1,
    init_from: str = "",
) -> config.TrainConfig:
    """Train with a constant rate, so that every step ends a training with a smaller budget.

    `shape` is layers and width. `benchmarks` has the file of each validation in the folder
    `questions`.
    """
    if study.tiny:
        steps, validations = 12, 1
    return config.TrainConfig(
        output=output,
        data=data,
        init_from=init_from,
        model=_model(*shape),
        optimizer=config.OptimizerConfig(
            learning_rate=RATE, warmup_steps=min(50, steps // 2), b2=0.99
        ),
        batch_size=BATCH,
        steps=steps,
        seed=seed,
        log_every=100,
        compilation_cache=f"{study.root}/compiled",
        validation=config.ValidationConfig(
            every=max(1, steps // validations),
            root=questions,
            benchmarks=tuple(config.BenchmarkConfig(*one) for one in benchmarks.items()),
            max_length=LENGTH,
        ),
    )
