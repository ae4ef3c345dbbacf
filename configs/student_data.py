"""What the students learn: explained samples, in each of the paper's eight forms.

    teacherlm prepare --config=configs/student_data.py:data=runs/teacher/7b1/annotate
    teacherlm prepare --config=configs/student_data.py:creak,data=runs/teacher/7b1/annotate_creak

The variant names the set and its output, `ROOT/VARIANT_data`: `multi` (P3-Sense-3K, explained by a
teacher, for a student of many tasks) unless it is given, or `creak`, `ecqa`, `strategyqa`. What
`annotate` writes is read, or any samples in our form. Each form is a mixture of its own,
`student_text` to `student_shuffle`; one that asks for an explanation which a sample lacks leaves
that sample out, and counts it.

Settings: `data=FOLDER` (holds `samples/*.jsonl`), `author=teacher` (whose explanations),
`root=FOLDER` (where the runs lie), `vocabulary=FOLDER` (the student's tokenizer files: BLOOM's and
OPT's students need data of their own) and `pieces=8000` (train a vocabulary of that size there when
the folder holds none).
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import recipes
from teacherlm_jax.errors import UserError

SETS = ("multi", "creak", "ecqa", "strategyqa")


def get_config(argument: str = "") -> config.PrepareConfig:
    """The eight mixtures of one set."""
    variant, given = variants.parse(
        argument,
        data="runs/teacher/annotate",
        author="teacher",
        root="runs/student",
        vocabulary="data/bloom",
        pieces=0,
    )
    variant = variant or SETS[0]
    if variant not in SETS:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(SETS)}")
    return config.PrepareConfig(
        output=f"{given['root']}/{variant}_data",
        root=given["data"],
        sources=(config.SourceConfig("explained", "samples/*.jsonl"),),
        mixtures=tuple(
            recipes.mixture(f"student_{form}", author=given["author"], too_long="right")
            for form in config.FORMS
        ),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )
