"""Muffin-3W: FLAN's supervised datasets from TFDS, with ten prompts each, as in the paper.

TeacherLM (arXiv 2310.19019) uses 56 supervised datasets of Muffin (FLAN, Wei et al. 2022, arXiv
2109.01652) with ten prompts each, at most 30,000 samples per dataset, and less than 1,200 tokens
per sample. The paper does not name them. This package uses the 62 datasets of FLAN, counted as in
FLAN (the three rounds of ANLI are one dataset, and so are both levels of ARC and both versions of
SQuAD), without four whose files TFDS cannot download automatically (Newsroom, SAMSum, XSum, Story
Cloze) and without two whose answers are written by a program (mathematics and missing punctuation).
All prompts were written for this package.

A task is a dataset with one prompt. Each prompt gets 3,000 of a dataset's 30,000 samples. If a
dataset has at least 30,000 training rows, every prompt gets different rows: the next 3,000 in
TFDS's shuffled order. If it has fewer, every prompt samples up to 3,000 from all rows by the seed,
so its rows are used with all ten prompts. To use other datasets or prompts, edit the file of their
kind, or pass names to `sources`.

The names, versions, fields and labels are those of TFDS 4.9.10. For two of the WMT pairs, TFDS
needs files that are downloaded by hand: Czech (CzEng) and Russian (Yandex's corpus).
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
from teacherlm_jax.sources.muffin.dataset import PROMPTS, DataSet

LIMIT = 30_000  # samples per dataset, over all its prompts
MAX_TOKENS = 1200  # per sample

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
DATASETS: dict[str, DataSet] = {dataset.name: dataset for kind in _KINDS for dataset in kind.SETS}


def sources(
    datasets: Iterable[str] = tuple(DATASETS), folder: str = ""
) -> tuple[SourceConfig, ...]:
    """Return the sources of datasets, with the paper's limits.

    Args:
        datasets: keys of DATASETS; default: all 56.
        folder: TFDS's data folder, to which `tfds build` or `download_and_prepare` wrote, relative
            to the config's root; "": the root.

    Each task is one source, named DATASET_NUMBER. If a dataset consists of several datasets of
    TFDS, there is one source for each of them, DATASET_NUMBER_CONFIG, with an equal share of the
    limit. Raises UserError for an unknown dataset.
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
    """Return the fields of a sample: a row of TFDS with the prompt "DATASET/NUMBER".

    Raises UserError for an unknown prompt, and SampleError for a row that cannot be used.
    """
    name, _, number = prompt.partition("/")
    if number not in map(str, range(1, PROMPTS + 1)):
        raise UserError(
            f"Muffin: unknown prompt {prompt!r}; expected DATASET/1 to DATASET/{PROMPTS}"
        )
    return _listed(name).to_fields(int(number), row)


def _listed(name: str) -> DataSet:
    if name not in DATASETS:
        raise UserError(f"Muffin: unknown dataset {name!r}; expected one of {', '.join(DATASETS)}")
    return DATASETS[name]
