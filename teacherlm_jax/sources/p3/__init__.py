"""P3-Sense-3K: supervised datasets of P3 (Public Pool of Prompts), selected as in the paper.

TeacherLM (arXiv 2310.19019) uses 58 datasets of P3 with all their prompts, 529 tasks, with at most
3,000 samples per task and less than 1,200 tokens per sample. The paper does not name the datasets.
This package uses the training and evaluation sets of T0, T0+ and T0++ (Sanh et al. 2022, arXiv
2110.08207): 66 pairs of a dataset and a subset, without the seven that measure bias and toxicity,
and without Story Cloze, which has no training split. That leaves 58 datasets. P3 publishes 539
prompts for them, where those of ANLI count once for each of its three rounds. Tasks are named like
P3's folders; the copies for rank classification (`…_score_eval`) are left out. To use other
datasets, edit `p3.datasets`, or pass names to `sources`.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import LETTERS, SampleError, kind_of
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.p3.datasets import DATASETS

LIMIT = 3000  # samples per task
MAX_TOKENS = 1200  # per sample

# Paths of P3's training files in its folder. It was published as TFRecords; the newest revision on
# the Hub has the same columns as parquet.
LAYOUTS = {
    "tfrecord": "data/{task}/train.tfrecord-*-of-*",
    "parquet": "{task}/train-*-of-*.parquet",
}

_NO_LABEL = "<NO LABEL>"  # target of rows whose answer is not public


def sources(
    datasets: Iterable[str] = tuple(DATASETS), layout: str = "tfrecord", folder: str = ""
) -> tuple[SourceConfig, ...]:
    """Return one source for each task of datasets, with the paper's limits.

    Args:
        datasets: keys of DATASETS; default: all 58.
        layout: a key of LAYOUTS, the format and paths of P3's files.
        folder: P3's folder, relative to the config's root; "": the root.

    Which 3,000 samples of a larger task are drawn depends only on the seed and their ids. Raises
    UserError for an unknown dataset or layout.
    """
    if layout not in LAYOUTS:
        raise UserError(f"P3: unknown layout {layout!r}; expected one of {', '.join(LAYOUTS)}")
    return tuple(
        SourceConfig(
            name=task,
            path=os.path.join(folder, LAYOUTS[layout].format(task=task)),
            format="p3",
            reader=layout,
            limit=LIMIT,
            limit_by="seed",
            max_tokens=MAX_TOKENS,
        )
        for dataset in datasets
        for task in tasks(dataset)
    )


def tasks(dataset: str) -> tuple[str, ...]:
    """Return the tasks of a dataset, named like P3's folders; raise UserError if it is unknown."""
    if dataset not in DATASETS:
        raise UserError(f"P3: unknown dataset {dataset!r}; expected one of {', '.join(DATASETS)}")
    return tuple(f"{dataset}_{prompt}" for prompt in DATASETS[dataset])


def to_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a sample from a row of P3; raise SampleError if it cannot be used.

    `inputs_pretokenized` is the question, even if its text lists options. If the row has
    `answer_choices`, they are the options, in the same order, and the answer is the letter of the
    choice that equals `targets_pretokenized`. Otherwise the target is a free-text answer. It is
    also free text if there are more choices than letters, as in two tasks of TREC (47 kinds of
    questions) and in rows of WikiHop (up to 79 candidates). Texts are stripped. A row is refused if
    its target equals none or several of the choices, or if there is only one choice.
    """
    question = _text(row, "inputs_pretokenized")
    target = _text(row, "targets_pretokenized")
    if target == _NO_LABEL:
        raise SampleError("the row has no label")
    choices = row.get("answer_choices") or []
    if not choices:
        return {"question": question, "answer": target}
    listed = (
        [choices] if isinstance(choices, str) else choices
    )  # TFRecords cannot tell a list of one from its item
    if not isinstance(listed, list) or not all(isinstance(choice, str) for choice in listed):
        raise SampleError("answer_choices is not a list of texts")
    options = [choice.strip() for choice in listed]
    if len(options) < 2:
        raise SampleError("only one answer choice")
    if target not in options:
        raise SampleError("the target is not one of the answer choices")
    if options.count(target) > 1:
        raise SampleError("the target equals more than one answer choice")
    if len(options) > len(LETTERS):
        return {"question": question, "answer": target}
    return {
        "question": question,
        "options": options,
        "answer": f"({LETTERS[options.index(target)]})",
    }


def _text(row: Mapping[str, Any], key: str) -> str:
    if not isinstance(row.get(key), str):
        raise SampleError(f"{key} is {kind_of(row.get(key))}, expected text")
    return row[key].strip()
