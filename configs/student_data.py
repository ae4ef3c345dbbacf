"""Training data of the students: explained samples in each of the paper's eight forms.

    teacherlm prepare '--config=configs/student_data.py:multi,files=*/samples/*.jsonl'
    teacherlm prepare --config=configs/student_data.py:creak

The variant names the set and the output, `ROOT/VARIANT_data`: `multi` (the default: P3-Sense-3K
explained by a teacher), `creak`, `ecqa` or `strategyqa`. The input is the run folder of `annotate`,
or any folder with files in the sample format. configs/annotate_p3.py and configs/annotate_task.py
write these folders. Each form is a mixture, `student_text` to `student_shuffle`. A sample that
lacks an explanation that a form needs is left out of that mixture and counted.

Three more variants prepare data for comparisons in the paper: `creak/human` (form C only, with the
chains of thought that people wrote), `creak/davinci` (forms C, F and M, with the explanations of a
model on a server), both also for the other tasks, and `p3` (the original P3, without explanations
and without limits).

Settings after the variant, as in `creak,data=FOLDER`:

    data        folder of the files (default: the output of `annotate`, runs/teacher/7b1/annotate
                for `multi`, and annotate_SET beside it for a task; data/P3 for `p3`)
    files       glob in it (default: samples/*.jsonl; */samples/*.jsonl if a sweep of `annotate`
                wrote one run folder per task; ignored for `p3`)
    datasets    for `p3`, only these, as in `imdb+anli` (default: all)
    forms       only these forms, as in `text+CMF` (default: all of the variant)
    author      label of who wrote the explanations (default: human or davinci if the variant says
                so, teacher otherwise)
    root        folder of the run folders (default: runs/student)
    vocabulary  the student's tokenizer: a folder or hf://org/name; BLOOM and OPT students need
                separate data (default: hf://bigscience/bloom-560m, of which only the tokenizer is
                downloaded)
    pieces      if `vocabulary` is a folder without a tokenizer, train one of this size (default: 0)
"""

import dataclasses

from teacherlm_jax import config
from teacherlm_jax.config import paper_models, variants
from teacherlm_jax.data import recipes
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import p3

SETS = ("multi", "creak", "ecqa", "strategyqa")
ORIGINAL = "p3"
VARIANTS = (
    *SETS,
    *(f"{name}/{author}" for name in SETS[1:] for author in paper_models.AUTHORED),
    ORIGINAL,
)


def get_config(argument: str = "") -> config.PrepareConfig:
    """Return the mixtures of one set."""
    variant, given = variants.parse(
        argument,
        data="",
        files="samples/*.jsonl",
        datasets="",
        forms="",
        author="",
        root="runs/student",
        vocabulary="hf://bigscience/bloom-560m",
        pieces=0,
    )
    variant = variant or SETS[0]
    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    which, _, author = variant.partition("/")
    forms = forms_of(which, author, given["forms"])
    author = given["author"] or author or "teacher"
    return config.PrepareConfig(
        output=f"{given['root']}/{variant.replace('/', '_')}_data",
        root=given["data"] or folder_of(variant),
        sources=sources(which, given["files"], given["datasets"]),
        mixtures=tuple(
            recipes.mixture(f"student_{form}", author=author, too_long="keep_last")
            for form in forms
        ),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )


def forms_of(which: str, author: str, only: str = "") -> tuple[str, ...]:
    """Return the forms of a variant, or those of them that a setting names."""
    forms = ("text",) if which == ORIGINAL else paper_models.AUTHORED.get(author, config.FORMS)
    return variants.chosen_of("forms", only, forms)


def folder_of(variant: str) -> str:
    """Return the folder that `annotate` writes for a variant."""
    if variant == ORIGINAL:
        return "data/P3"
    annotated = variant.removesuffix("/human").replace("/", "_")  # the human ones are in it too
    return f"runs/teacher/7b1/annotate{'' if variant == SETS[0] else f'_{annotated}'}"


def sources(which: str, files: str, datasets: str = "") -> tuple[config.SourceConfig, ...]:
    """Return the explained samples, or all tasks of P3 without limits."""
    if which != ORIGINAL:
        return (config.SourceConfig("explained", files),)
    tasks = p3.sources(variants.chosen(datasets, p3.DATASETS), layout="parquet")
    return tuple(dataclasses.replace(task, limit=0, max_tokens=0) for task in tasks)
