"""TeacherData: five-element samples of many subjects, for stages 2 and 3 of a teacher.

    teacherlm prepare --config=configs/teacher_data.py:data=FOLDER --config.check_only=True
    teacherlm prepare --config=configs/teacher_data.py:data=FOLDER,vocabulary=FOLDER

The authors' TeacherData-2M was never released. Use any files whose rows have a question, an answer
and the three explanations: edit COLUMNS below to name their columns, and leave empty what the files
lack. A row whose options are null or an empty list has a free-text answer. If a row has a subject,
its prompt begins with the sentence that names it. There are four mixtures: `teacher_stage2`, and
`teacher_stage3_KIND` for each kind of explanation. The variant `all` also prepares P3-Sense-3K and
Muffin-3W, and two more mixtures: `teacher_stage1`, and `teacher_no_stage` with everything mixed.

    teacherlm prepare --config=configs/teacher_data.py:all,data=FOLDER,vocabulary=FOLDER

Settings: `data=FOLDER` (for `all`, with P3 in `P3/` and the data sets of TFDS in `tfds/`),
`files=teacher_data/*.jsonl` (files in it, in any format whose name tells the reader),
`author=human` (author of the explanations), `root=FOLDER` (run folders), `vocabulary=FOLDER`
(BLOOM's tokenizer files) and `pieces=8000` (if that folder has no vocabulary, train one of this
size).
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
    """Return the mixtures of stages 2 and 3; with `all`, also of stage 1 and the control."""
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
    """Return the mixtures of TeacherData; `answered` are the sources of stage 1, if any."""
    stages = ("teacher_stage2", *(f"teacher_stage3_{kind}" for kind in KINDS))
    made = tuple(recipes.mixture(stage, sources=(NAME,), author=author) for stage in stages)
    if not answered:
        return made
    return (
        recipes.mixture("teacher_stage1", sources=answered),
        *made,
        recipes.mixture("teacher_no_stage", sources=answered, teacher_data=(NAME,), author=author),
    )
