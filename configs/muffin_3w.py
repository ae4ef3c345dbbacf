"""Muffin-3W: 56 datasets of FLAN with ten prompts each, at most 30,000 samples per dataset.

This command reads everything, prepares nothing, and shows the number of samples of each task:

    teacherlm prepare --config=configs/muffin_3w.py:data=FOLDER --check_only

This command prepares them as one mixture, `muffin_3w`:

    teacherlm prepare --config=configs/muffin_3w.py:data=FOLDER

No dataset is downloaded; docs/how-to/reproduce-the-paper.md has the commands.
`teacherlm_jax.sources.muffin` lists the datasets and the reasons for the choice.

Settings, as in `data=FOLDER,pieces=8000`:

    data        data folder of TensorFlow Datasets with the prepared datasets, such as
                ~/tensorflow_datasets (default: data/tfds)
    datasets    only these of the 56, as in `rte+bool_q` (default: all)
    root        folder of the run folders (default: runs/teacher)
    vocabulary  BLOOM's tokenizer: a folder or hf://org/name (default: hf://bigscience/bloom-560m,
                of which only the tokenizer is downloaded)
    pieces      if `vocabulary` is a folder without a tokenizer, train one of this size (default: 0)
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
        vocabulary="hf://bigscience/bloom-560m",
        pieces=0,
    )
    wanted = variants.chosen(given["datasets"], muffin.DATASETS)
    return config.PrepareConfig(
        output=f"{given['root']}/muffin_3w",
        root=given["data"],
        sources=muffin.sources(wanted),
        mixtures=(recipes.mixture("teacher_stage1", name="muffin_3w"),),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )
