"""The teachers: stages, the control that mixes them, and the explanations that they write."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps.study import (
    LENGTH,
    SIZES,
    Study,
    seed_of,
    training,
    vocabulary_step,
    word_of,
)

STAGES = ("stage1", "stage2", *(f"stage3_{kind}" for kind in KINDS))
CONTROL = "no_stage"
MIXED, RESTARTED = "mixed", "restarted"  # the control in two trainings, each with its optimizer
RESTARTS = "restarts"  # the part with these
BASE = {"stage2": "stage1", **dict.fromkeys(STAGES[2:], "stage2"), RESTARTED: MIXED}
STEPS = {
    "stage1": 2160,
    "stage2": 2400,
    **dict.fromkeys(STAGES[2:], 250),
    CONTROL: 4560,  # those of stages 1 and 2
    MIXED: 2160,
    RESTARTED: 2400,
}
DATA = {MIXED: CONTROL, RESTARTED: CONTROL}  # mixtures with another name than their stage
ORDER = {RESTARTED: 100}  # added to the seed, for another order of the rows than in MIXED
WRITERS = ("stage2", CONTROL, "specialists")
MAIN_SIZE = "medium"  # of the primary comparisons, and of teachers whose texts students read
SOURCES = {"explain": "questions", "write": "taught"}  # files that teachers explain, by step
PARTS = {  # sizes of the teachers of each part
    "stages": (MAIN_SIZE,),
    "sizes": tuple(size for size in SIZES if size != MAIN_SIZE),
    RESTARTS: ("large",),
}


def writers_of(part: str) -> tuple[str, ...]:
    """Return the writers whose teachers a part trains."""
    return (RESTARTED,) if part == RESTARTS else WRITERS


def of_part(study: Study, part: str) -> Iterator[config.StepConfig]:
    """Yield the steps of staged and unstaged teachers of a part of the study, a key of `PARTS`."""
    yield vocabulary_step(study)
    writers = writers_of(part)
    writers = writers[:2] if study.short else writers  # a smoke test has all kinds of steps
    for seed in study.seeds:
        for size in PARTS[part][:1] if study.brief else PARTS[part]:
            yield from trainings(study, size, seed, stages_of(writers))
            for writer in writers:
                yield explanation(study, "explain", size, writer, seed)


def stages_of(writers: Iterable[str]) -> tuple[str, ...]:
    """Return the stages whose teachers write, and those before them, in the order of training."""
    needed = {stage for writer in writers for stage in _of(writer).values()}
    for _ in STAGES:
        needed |= {BASE[stage] for stage in needed if stage in BASE}
    return tuple(stage for stage in STEPS if stage in needed)


def trainings(
    study: Study, size: str, seed: int, names: Sequence[str]
) -> Iterator[config.StepConfig]:
    """Yield the preparation of the data of a seed, and the trainings of one size."""
    files, data = study.samples(seed), f"stage_data/{word_of(seed)}"
    read = tuple(f"{files}/{name}.jsonl" for name in ("plain", "explained"))
    title = f"prepare the teachers' data of seed {seed}"
    yield study.step(data, title, "prepare", (*read, study.vocabulary().path))
    tests = tuple(f"{files}/{name}.jsonl" for name in ("trained", "unseen"))
    for stage in names:
        before = [_folder(study, size, BASE[stage], word_of(seed))] if stage in BASE else []
        yield study.step(
            f"teacher/{size}/{stage}/{word_of(seed)}",
            f"train a {size} teacher: {stage}, seed {seed}",
            "train",
            (f"{study.root}/{data}/{DATA.get(stage, stage)}", *tests, *before),
        )


def explanation(study: Study, kind: str, size: str, writer: str, seed: int) -> config.StepConfig:
    """Return a step of an `annotate` run, `explain` or `write`."""
    models = {_folder(study, size, name, word_of(seed)): None for name in _of(writer).values()}
    return study.step(
        f"{kind}/{size}/{writer}/{word_of(seed)}",
        f"{kind} {SOURCES[kind]} with a {size} teacher: {writer}, seed {seed}",
        "annotate",
        (f"{study.samples(seed)}/{SOURCES[kind]}.jsonl", *models),
    )


def _folder(study: Study, size: str, stage: str, seed: str) -> str:
    return f"{study.root}/teacher/{size}/{stage}/{seed}"


def _of(writer: str) -> dict[str, str]:
    """Return the stage that writes each kind of explanation."""
    specialists = writer == "specialists"
    return {kind: f"stage3_{kind}" if specialists else writer for kind in KINDS}


def stage_data(study: Study, seed: str) -> config.PrepareConfig:
    """Prepare the mixtures of all stages, and of the control that mixes stages 1 and 2.

    All tokens are trained: models with random weights have to learn the language, too.
    """
    forms = {"cot": "C", "fundamental": "F", "mistake": "M"}
    plain = config.PartConfig(sources=("plain",), forms=("text",))
    return config.PrepareConfig(
        output=f"{study.root}/stage_data/{seed}",
        root=study.samples(seed_of(seed)),
        sources=tuple(
            config.SourceConfig(name, f"{name}.jsonl") for name in ("plain", "explained")
        ),
        mixtures=(
            config.MixtureConfig("stage1", sources=("plain",), forms=("text",)),
            _explained("stage2", *forms.values()),
            *(_explained(f"stage3_{kind}", form) for kind, form in forms.items()),
            dataclasses.replace(_explained(CONTROL, *forms.values()), also=(plain,)),
        ),
        vocabulary=study.vocabulary(),
        length=LENGTH,
        seed=seed_of(seed),
    )


def _explained(name: str, *forms: str) -> config.MixtureConfig:
    """Return a mixture of the explained samples."""
    return config.MixtureConfig(name, sources=("explained",), forms=forms, author=synthetic.AUTHOR)


def teacher(study: Study, size: str, stage: str, seed: str) -> config.TrainConfig:
    """Train one stage, or the control, or one of the two trainings of the restarted control."""
    return training(
        study,
        output=_folder(study, size, stage, seed),
        data=f"{study.root}/stage_data/{seed}/{DATA.get(stage, stage)}",
        shape=SIZES[size],
        steps=STEPS[stage],
        seed=seed_of(seed) + ORDER.get(stage, 0),
        questions=study.samples(seed_of(seed)),
        init_from=_folder(study, size, BASE[stage], seed) if stage in BASE else "",
        benchmarks={name: f"{name}.jsonl" for name in ("trained", "unseen")},
    )


def explain(study: Study, size: str, writer: str, seed: str) -> config.AnnotateConfig:
    """Have a teacher explain new questions; the gate `synthetic` checks what it writes."""
    return _annotation(study, "explain", size, writer, seed)


def write(study: Study, size: str, writer: str, seed: str) -> config.AnnotateConfig:
    """Have a teacher explain the samples of students."""
    return _annotation(study, "write", size, writer, seed)


def _annotation(
    study: Study, kind: str, size: str, writer: str, seed: str
) -> config.AnnotateConfig:
    teachers = {one: _folder(study, size, stage, seed) for one, stage in _of(writer).items()}
    return config.AnnotateConfig(
        output=f"{study.root}/{kind}/{size}/{writer}/{seed}",
        root=study.samples(seed_of(seed)),
        source=config.SourceConfig(SOURCES[kind], f"{SOURCES[kind]}.jsonl"),
        teachers=config.TeachersConfig(**teachers),
        sampling=config.SamplingConfig(
            temperature=1.0 if study.tiny else 0.3, max_new_tokens=8 if study.tiny else 64
        ),
        gates=("finished", "not_empty", "synthetic"),
        seed=seed_of(seed),
    )
