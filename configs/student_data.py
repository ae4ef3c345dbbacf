"""Training data of the students: explained samples in each of the paper's eight forms.

    teacherlm prepare '--config=configs/student_data.py:multi,files=*/samples/*.jsonl'
    teacherlm prepare --config=configs/student_data.py:creak,data=runs/teacher/7b1/annotate_creak

The variant names the set and the output, `ROOT/VARIANT_data`: `multi` (the default: P3-Sense-3K
explained by a teacher), `creak`, `ecqa` or `strategyqa`. The input is the run folder of `annotate`,
or any folder with files in the sample format. docs/how-to/reproduce-the-paper.md has the configs of
`annotate` that write these folders. Each form is a mixture, `student_text` to `student_shuffle`. A
sample that lacks an explanation that a form needs is left out of that mixture and counted.

Settings after the variant, as in `creak,data=FOLDER`:

    data        folder of the files (default: runs/teacher/7b1/annotate)
    files       glob in it (default: samples/*.jsonl; */samples/*.jsonl if a sweep of `annotate`
                wrote one run folder per task)
    author      label of who wrote the explanations (default: teacher)
    root        folder of the run folders (default: runs/student)
    vocabulary  the student's tokenizer: a folder or hf://org/name; BLOOM and OPT students need
                separate data (default: hf://bigscience/bloom-560m, of which only the tokenizer is
                downloaded)
    pieces      if `vocabulary` is a folder without a tokenizer, train one of this size (default: 0)
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import recipes
from teacherlm_jax.errors import UserError

SETS = ("multi", "creak", "ecqa", "strategyqa")


def get_config(argument: str = "") -> config.PrepareConfig:
    """Return the eight mixtures of one set."""
    variant, given = variants.parse(
        argument,
        data="runs/teacher/7b1/annotate",
        files="samples/*.jsonl",
        author="teacher",
        root="runs/student",
        vocabulary="hf://bigscience/bloom-560m",
        pieces=0,
    )
    variant = variant or SETS[0]
    if variant not in SETS:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(SETS)}")
    return config.PrepareConfig(
        output=f"{given['root']}/{variant}_data",
        root=given["data"],
        sources=(config.SourceConfig("explained", given["files"]),),
        mixtures=tuple(
            recipes.mixture(f"student_{form}", author=given["author"], too_long="keep_last")
            for form in config.FORMS
        ),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )
