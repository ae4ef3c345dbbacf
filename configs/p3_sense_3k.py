"""P3-Sense-3K: 58 data sets of P3 under all their prompts, at most 3,000 samples per task.

    teacherlm prepare --config=configs/p3_sense_3k.py:data=FOLDER --config.check_only=True
    teacherlm prepare --config=configs/p3_sense_3k.py:data=FOLDER,vocabulary=FOLDER

The first command reads everything, writes no rows, and shows the number of samples of each of the
539 tasks; the second prepares them as one mixture, `p3_sense_3k`. `teacherlm_jax.sources.p3` lists
the data sets and the reasons for the choice. Nothing is downloaded.

Settings: `data=FOLDER` (a copy of the data set bigscience/P3 from the Hugging Face Hub),
`layout=tfrecord` (the files as published, in `data/TASK/`) or `layout=parquet` (the newest
revision, in `TASK/`), `datasets=NAME+NAME` (only these of the 58), `root=FOLDER` (run folders),
`vocabulary=FOLDER` (BLOOM's tokenizer files) and `pieces=8000` (if that folder has no vocabulary,
train one of this size).
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import recipes
from teacherlm_jax.sources import p3


def get_config(argument: str = "") -> config.PrepareConfig:
    """Return the mixture of all tasks in the form `text`."""
    _, given = variants.parse(
        argument,
        data="data/P3",
        layout="tfrecord",
        datasets="",
        root="runs/teacher",
        vocabulary="data/bloom",
        pieces=0,
    )
    wanted = given["datasets"].split("+") if given["datasets"] else p3.DATASETS
    return config.PrepareConfig(
        output=f"{given['root']}/p3_sense_3k",
        root=given["data"],
        sources=p3.sources(wanted, given["layout"]),
        mixtures=(recipes.mixture("teacher_stage1", name="p3_sense_3k"),),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )
