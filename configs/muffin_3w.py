"""Muffin-3W: 56 data sets of FLAN under ten prompts each, at most 30,000 samples per data set.

    teacherlm prepare --config=configs/muffin_3w.py:data=FOLDER --config.check_only=True
    teacherlm prepare --config=configs/muffin_3w.py:data=FOLDER,vocabulary=FOLDER

The first command reads everything, writes no rows, and shows the number of samples of each task;
the second prepares them as one mixture, `muffin_3w`. `teacherlm_jax.sources.muffin` lists the data
sets and the reasons for the choice. Nothing is downloaded.

Settings: `data=FOLDER` (a data folder of TensorFlow Datasets with the prepared data sets, such as
`~/tensorflow_datasets`), `datasets=NAME+NAME` (only these of the 56), `root=FOLDER` (run folders),
`vocabulary=FOLDER` (BLOOM's tokenizer files) and `pieces=8000` (if that folder has no vocabulary,
train one of this size).
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import recipes
from teacherlm_jax.sources import muffin


def get_config(argument: str = "") -> config.PrepareConfig:
    """Return the mixture of all tasks in the form `text`."""
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
