"""Muffin-3W: FLAN's supervised data sets by way of TFDS, ten prompts each, by the paper's rules.

TeacherLM (arXiv 2310.19019) takes 56 supervised data sets of Muffin (FLAN, Wei et al. 2022, arXiv
2109.01652), ten prompts each, at most 30,000 samples a data set, each under 1,200 tokens. Which 56
it does not say. Ours are the 62 of FLAN, counted as FLAN counts them (the three rounds of ANLI are
one data set, as are both levels of ARC and both versions of SQuAD), without four whose files TFDS
does not fetch by itself (Newsroom, SAMSum, XSum, Story Cloze) and without two whose answers a
program makes rather than people (mathematics and missing punctuation). All prompts are our own.

A task is a data set under one prompt. A data set's 30,000 samples are spread evenly: 3,000 for each
prompt. Where a data set has 30,000 training rows, every prompt has rows of its own, the next 3,000
in TFDS's order, which is a shuffled one; where it has fewer, every prompt draws its 3,000 from all
rows by the seed, so that a small data set appears under all ten. To take other data sets or other
words, edit the file of their kind, or name those wanted to `sources`.

The names, versions, fields and labels are those of TFDS 4.9.10. Two of the WMT pairs have training
files that TFDS wants downloaded by hand: Czech (CzEng) and Russian (Yandex's corpus).
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.muffin import (
    common_sense,
    coreference,
    entailment,
    paraphrase,
    passages,
    questions,
    sentiment,
    structure,
    summaries,
    translation,
)
from teacherlm_jax.sources.muffin.data_set import PROMPTS, DataSet

LIMIT = 30_000  # samples of a data set, over all its prompts
MAX_TOKENS = 1200  # of a sample

_KINDS = (
    entailment,
    common_sense,
    sentiment,
    paraphrase,
    questions,
    passages,
    coreference,
    translation,
    structure,
    summaries,
)
DATASETS: dict[str, DataSet] = {made.name: made for kind in _KINDS for made in kind.SETS}


def sources(
    datasets: Iterable[str] = tuple(DATASETS), folder: str = ""
) -> tuple[SourceConfig, ...]:
    """The sources of the named data sets, by the paper's rules.

    Args:
        datasets: keys of DATASETS; all 56 unless told otherwise.
        folder: TFDS's data folder, where `tfds build` or `download_and_prepare` left the data sets,
            under the config's root; "" where it is the root itself.

    There is one source for each task, named DATASET_NUMBER; where a data set is several of TFDS's,
    there is one for each of them, DATASET_NUMBER_CONFIG, with an equal share of the limit. Raises
    UserError for a data set that is not listed.
    """
    return tuple(
        _source(_listed(name), number, builder, folder)
        for name in datasets
        for number in range(1, PROMPTS + 1)
        for builder in _listed(name).builders
    )


def _source(dataset: DataSet, number: int, builder: str, folder: str) -> SourceConfig:
    share = LIMIT // (PROMPTS * len(dataset.builders))
    name = f"{dataset.name}_{number}"
    if len(dataset.builders) > 1:
        name += f"_{builder.split('/')[1]}"
    split = dataset.split
    if dataset.large:
        split += f"[{share * (number - 1)}:{share * number}]"
    return SourceConfig(
        name=name,
        path=os.path.join(folder, builder),
        format="muffin",
        prompt=f"{dataset.name}/{number}",
        reader="tfds",
        split=split,
        limit=share,
        limit_by="seed",
        max_tokens=MAX_TOKENS,
    )


def to_fields(prompt: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sample: a row of TFDS, asked about in the prompt named "DATASET/NUMBER".

    Raises UserError when there is no such prompt, and SampleError for rows that make no sample.
    """
    name, _, number = prompt.partition("/")
    if number not in map(str, range(1, PROMPTS + 1)):
        raise UserError(f"Muffin: no prompt {prompt!r}; they are named DATASET/1 to /{PROMPTS}")
    return _listed(name).to_fields(int(number), row)


def _listed(name: str) -> DataSet:
    if name not in DATASETS:
        raise UserError(f"Muffin: no data set {name!r}; listed: {', '.join(DATASETS)}")
    return DATASETS[name]
