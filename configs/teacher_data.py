"""TeacherData: samples on many subjects, each with three explanations, for stages 2 and 3.

This command reads everything, prepares nothing, and shows what it found:

    teacherlm prepare --config=configs/teacher_data.py:data=FOLDER --check_only

This command prepares the mixtures `teacher_stage2`, `teacher_stage3_cot`,
`teacher_stage3_fundamental` and `teacher_stage3_mistake`:

    teacherlm prepare --config=configs/teacher_data.py:data=FOLDER

The variant `all` prepares P3-Sense-3K and Muffin-3W too, with two more mixtures: `teacher_stage1`,
and `teacher_no_stage` with everything mixed:

    teacherlm prepare --config=configs/teacher_data.py:all,data=FOLDER,layout=parquet

TeacherData-2M of the TeacherLM authors was never released. Use any files whose rows have a
question, an answer and the three explanations. Edit COLUMNS below to name their columns, and leave
empty what the files lack. A row whose options are null or an empty list has a free-text answer. If
a row has a subject, its prompt begins with the sentence that names it.

Settings after the variant, as in `all,data=FOLDER`:

    data        folder of the files below; for `all`, with P3 in P3/ and the datasets of TensorFlow
                Datasets in tfds/ (default: data)
    files       glob in it, of any file type that is recognized by its extension
                (default: teacher_data/*.jsonl)
    layout      for `all`, the files of P3, as in configs/p3_sense_3k.py: tfrecord (default) or
                parquet (the newest revision)
    p3, muffin  for `all`, only these datasets, as in `p3=imdb+anli,muffin=none` (default: all)
    author      label of who wrote the explanations (default: human)
    root        folder of the run folders (default: runs/teacher)
    vocabulary  BLOOM's tokenizer: a folder or hf://org/name (default: hf://bigscience/bloom-560m,
                of which only the tokenizer is downloaded)
    pieces      if `vocabulary` is a folder without a tokenizer, train one of this size (default: 0)
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
        layout="tfrecord",
        p3="",
        muffin="",
        author="human",
        root="runs/teacher",
        vocabulary="hf://bigscience/bloom-560m",
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
    answered: tuple[config.SourceConfig, ...] = ()
    if variant:
        answered = (
            *p3.sources(variants.chosen(given["p3"], p3.DATASETS), given["layout"], "P3"),
            *muffin.sources(variants.chosen(given["muffin"], muffin.DATASETS), "tfds"),
        )
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
