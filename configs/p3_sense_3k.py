"""P3-Sense-3K: 58 datasets of P3 with all their prompts, at most 3,000 samples per task.

This command reads everything, prepares nothing, and shows the number of samples of each task:

    teacherlm prepare --config=configs/p3_sense_3k.py:data=FOLDER --check_only

This command prepares them as one mixture, `p3_sense_3k`:

    teacherlm prepare --config=configs/p3_sense_3k.py:data=FOLDER

No dataset is downloaded; docs/how-to/reproduce-the-paper.md has the command for that. A task is a
dataset with one prompt. There are 539 tasks. The paper counts 529 and does not name its datasets,
so the choice is this project's; `teacherlm_jax.sources.p3` lists the datasets and the reasons.

Settings, as in `data=FOLDER,layout=parquet`:

    data        copy of the dataset bigscience/P3 of the Hugging Face Hub (default: data/P3)
    layout      tfrecord: the files as published, in data/TASK/ of that copy (default);
                parquet: the newest revision, in TASK/
    datasets    only these of the 58, as in `imdb+rotten_tomatoes` (default: all)
    root        folder of the run folders (default: runs/teacher)
    vocabulary  BLOOM's tokenizer: a folder or hf://org/name (default: hf://bigscience/bloom-560m,
                of which only the tokenizer is downloaded)
    pieces      if `vocabulary` is a folder without a tokenizer, train one of this size (default: 0)
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
        vocabulary="hf://bigscience/bloom-560m",
        pieces=0,
    )
    wanted = variants.chosen(given["datasets"], p3.DATASETS)
    return config.PrepareConfig(
        output=f"{given['root']}/p3_sense_3k",
        root=given["data"],
        sources=p3.sources(wanted, given["layout"]),
        mixtures=(recipes.mixture("teacher_stage1", name="p3_sense_3k"),),
        vocabulary=config.VocabularyConfig(given["vocabulary"], size=given["pieces"]),
    )
