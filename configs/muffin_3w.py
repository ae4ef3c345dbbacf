"""Muffin-3W: 56 data sets of FLAN under ten prompts each, at most 30,000 samples a data set.

    teacherlm prepare --config=configs/muffin_3w.py:data=FOLDER --config.check_only=True
    teacherlm prepare --config=configs/muffin_3w.py:data=FOLDER,vocabulary=FOLDER

The first command reads everything, writes no rows, and tells the samples of each task; the second
prepares them as one mixture, `muffin_3w`. `teacherlm_jax.sources.muffin` says which data sets these
are and why; nothing is downloaded here.

Settings: `data=FOLDER` (a data folder of TensorFlow Datasets, in which they were prepared, such as
`~/tensorflow_datasets`), `datasets=NAME+NAME` (only these of the 56), `root=FOLDER` (where the runs
lie), `vocabulary=FOLDER` (BLOOM's tokenizer files) and `pieces=8000` (train a vocabulary of that
size there when the folder holds none).
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import recipes
from teacherlm_jax.sources import muffin


def get_config(argument: str = "") -> config.PrepareConfig:
    """The mixture of all tasks in their plain text form."""
    _, given = variants.parse(
        argument,
        data="data/tfds",
        datasets="",
        root="runs/teacher",
        vocabulary="data/bloom",
        pieces=0,
    )
    wanted = given["datasets"].split("+") if given["datasets"] else muffin.DATASETS
    return config.PrepareConfig(
        output=f"{given['root']}/muffin_3w",
        root=given["data"],
        sources=muffin.sources(wanted),
        mixtures=(recipes.mixture("teacher_stage1", name="muffin_3w"),),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )
