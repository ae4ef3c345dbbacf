"""P3-Sense-3K: the supervised data sets of P3, the Public Pool of Prompts, by the paper's rules.

TeacherLM (arXiv 2310.19019) takes 58 data sets of P3 with all their prompts, 529 tasks, at most
3,000 samples a task, each under 1,200 tokens. Which 58 and which 529 it does not say. Ours are the
training and evaluation sets of T0, T0+ and T0++ (Sanh et al. 2022, arXiv 2110.08207): 66 pairs of a
data set and a subset, without the seven that measure bias and toxicity, and without Story Cloze,
which has no training split. That leaves 58 data sets; P3 publishes 539 prompts for them, counting
those of ANLI once for each of its three rounds. Prompts are named as the folders of P3 are; the
copies of tasks for rank classification (`…_score_eval`) are left out. To take other data sets, edit
`p3.datasets`, or name those wanted to `sources`.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import LETTERS, SampleError, kind_of
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.p3.datasets import DATASETS

LIMIT = 3000  # samples of a task
MAX_TOKENS = 1200  # of a sample

# How P3's training files lie below its folder. It was published as TFRecords; the newest revision
# on the Hub holds the same columns as parquet.
LAYOUTS = {
    "tfrecord": "data/{task}/train.tfrecord-*-of-*",
    "parquet": "{task}/train-*-of-*.parquet",
}

_NO_LABEL = "<NO LABEL>"  # the target of rows whose answer is not public


def sources(
    datasets: Iterable[str] = tuple(DATASETS), layout: str = "tfrecord", folder: str = ""
) -> tuple[SourceConfig, ...]:
    """One source for each task of the named data sets, by the paper's rules.

    Args:
        datasets: keys of DATASETS; all 58 unless told otherwise.
        layout: a key of LAYOUTS, which says where the files lie in P3's folder.
        folder: P3's folder, under the config's root; "" where it is the root itself.

    Which 3,000 samples of a larger task are taken depends on the seed and their ids alone. Raises
    UserError for a data set that is not listed and for an unknown layout.
    """
    if layout not in LAYOUTS:
        raise UserError(f"P3: unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
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
    """The names of a data set's tasks, which are P3's folders; UserError when it is not listed."""
    if dataset not in DATASETS:
        raise UserError(f"P3: no data set {dataset!r}; listed: {', '.join(DATASETS)}")
    return tuple(f"{dataset}_{prompt}" for prompt in DATASETS[dataset])


def to_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sample from a row of P3; raises SampleError for rows that make none.

    The row's `inputs_pretokenized` is the question, whether or not it lists options of its own.
    With `answer_choices` the sample is multiple choice: they are the options, in their order, and
    the answer is the letter of the one that `targets_pretokenized` equals; without, the target is
    the answer as free text. So it is where there are more choices than letters, as in two tasks of
    TREC (47 kinds of questions) and in rows of WikiHop (up to 79 candidates). White space at both
    ends of each is left out. A target that is none of the choices, or equals two, is refused, as is
    a single choice.
    """
    question = _text(row, "inputs_pretokenized")
    target = _text(row, "targets_pretokenized")
    if target == _NO_LABEL:
        raise SampleError("the row has no label")
    choices = row.get("answer_choices") or []
    if not choices:
        return {"question": question, "answer": target}
    listed = [choices] if isinstance(choices, str) else choices  # TFRecords know no list of one
    if not isinstance(listed, list) or not all(isinstance(choice, str) for choice in listed):
        raise SampleError("answer_choices are no list of texts")
    options = [choice.strip() for choice in listed]
    if len(options) < 2:
        raise SampleError("a single answer choice")
    if target not in options:
        raise SampleError("the target is none of the answer choices")
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
        raise SampleError(f"{key} is no text but {kind_of(row.get(key))}")
    return row[key].strip()
