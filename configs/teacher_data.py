"""TeacherData: samples of five elements, of many subjects, for stages 2 and 3 of a teacher.

    teacherlm prepare --config=configs/teacher_data.py:data=FOLDER --config.check_only=True
    teacherlm prepare --config=configs/teacher_data.py:data=FOLDER,vocabulary=FOLDER

The authors' TeacherData-2M was never released. Any files will do whose rows have a question, an
answer and the three explanations: COLUMNS below says which columns hold them, and is meant to be
edited. Leave empty there what the files lack. A row whose options are null or an empty list asks
for free text, and a question begins with the sentence that names its subject, where the row has
one. Four mixtures are made: `teacher_stage2`, and `teacher_stage3_KIND` for each kind
of explanation. With the variant `all` they are prepared together with P3-Sense-3K and Muffin-3W,
and there are two more: `teacher_stage1`, and `teacher_no_stage` with everything at once.

    teacherlm prepare --config=configs/teacher_data.py:all,data=FOLDER,vocabulary=FOLDER

Settings: `data=FOLDER` (with `all`, also holds P3 in `P3/` and TFDS's data sets in `tfds/`),
`files=teacher_data/*.jsonl` (which files in it; of any kind that tells by its name how it is read),
`author=human` (whose explanations they are), `root=FOLDER` (where the runs lie),
`vocabulary=FOLDER` (BLOOM's tokenizer files) and `pieces=8000` (train a vocabulary of that size
there when the folder holds none).
"""

import dataclasses

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import recipes
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import muffin, p3

COLUMNS = config.ColumnsConfig(
    question="question",
    answer="answer",
    options=("options",),
    subject="subject",
    cot="cot",
    fundamental="fundamental",
    mistake="mistake",
)
NAME = "teacher_data"


def get_config(argument: str = "") -> config.PrepareConfig:
    """Stages 2 and 3 of the teacher; with the variant `all`, also stage 1 and the control."""
    variant, given = variants.parse(
        argument,
        data="data",
        files="teacher_data/*.jsonl",
        author="human",
        root="runs/teacher",
        vocabulary="data/bloom",
        pieces=0,
    )
    if variant not in ("", "all"):
        raise UserError(f"unknown variant {variant!r}; known: all")
    explained = config.SourceConfig(
        NAME,
        given["files"],
        "columns",
        columns=dataclasses.replace(COLUMNS, author=given["author"]),
    )
    answered = (*p3.sources(folder="P3"), *muffin.sources(folder="tfds")) if variant else ()
    return config.PrepareConfig(
        output=f"{given['root']}/{NAME}",
        root=given["data"],
        sources=(explained, *answered),
        mixtures=mixtures(given["author"], tuple(source.name for source in answered)),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )


def mixtures(author: str, answered: tuple[str, ...]) -> tuple[config.MixtureConfig, ...]:
    """The stages that TeacherData serves; `answered` are the sources of stage 1, if there are."""
    stages = ("teacher_stage2", *(f"teacher_stage3_{kind}" for kind in KINDS))
    made = tuple(recipes.mixture(stage, sources=(NAME,), author=author) for stage in stages)
    if not answered:
        return made
    return (
        recipes.mixture("teacher_stage1", sources=answered),
        *made,
        recipes.mixture("teacher_no_stage", sources=answered, teacher_data=(NAME,), author=author),
    )
