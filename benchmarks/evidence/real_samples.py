"""Real samples of the study, from the files of docs/tutorial/real-data.md."""

import collections
import dataclasses
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.evidence.samples import permuted_within, unexplained, write_once
from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.pipelines.evidence_steps.study_real import HUMAN, SETS
from teacherlm_jax.pipelines.evidence_steps.study_students import PERMUTED_AUTHOR
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage.refused_rows import RefusedRows

QUESTIONS = {"creak": "creak", "ecqa": "ecqa", "strategyqa": "strategy_qa"}  # files of the paper
HELD_OUT = 10  # a tenth of the samples of each set are test questions
SEED = 0
UNANSWERABLE = "no options, and an answer other than yes or no"
YES_OR_NO = ("True", "False")  # options of questions without any, as in the paper's prompts


def write_all(folder: Path, data: Path) -> dict[str, Mapping[str, int]]:
    """Write training samples, held-out ones and the paper's questions of each set.

    Returns the rows of each training file that are not used: how many, by reason. Raises UserError
    if a file of `data` is missing, or if a file is there with other samples.
    """
    rng = random.Random(SEED)
    kept: list[Sample] = []
    unused = {}
    for name in SETS:
        config = SourceConfig(name, f"{data}/rationale/{name}_train.jsonl", "cot")
        read, refused = _read(config)
        drawn = list(_answerable(read))
        unused[name] = refused.counts + collections.Counter({UNANSWERABLE: len(read) - len(drawn)})
        rng.shuffle(drawn)
        cut = len(drawn) // HELD_OUT
        write_once(folder / f"{name}_held_out.jsonl", map(unexplained, drawn[:cut]))
        kept += drawn[cut:]
        asked, _ = _read(SourceConfig(name, f"{data}/eval/{QUESTIONS[name]}.jsonl", name))
        write_once(folder / f"{name}.jsonl", map(unexplained, asked))
    others = permuted_within(kept, rng)
    write_once(folder / "train.jsonl", map(_with_both, kept, others))
    return unused


def _answerable(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield the samples that have options, or yes or no as their answer."""
    for sample in samples:
        if sample.options:
            yield sample
        elif sample.answer in ("yes", "no"):
            letter = "(A)" if sample.answer == "yes" else "(B)"
            yield dataclasses.replace(sample, options=YES_OR_NO, answer=letter)


def _read(config: SourceConfig) -> tuple[list[Sample], RefusedRows]:
    """Return the samples of a file, and its rows that are none."""
    refused = RefusedRows(None)
    samples = [sample for _, sample in SourceReading(config, "").first(refused)]
    return samples, refused


def _with_both(sample: Sample, other: Sample) -> Sample:
    """Return the sample with its own chain of thought, and with that of another one."""
    texts = {
        HUMAN: sample.explanation("cot", HUMAN),
        PERMUTED_AUTHOR: other.explanation("cot", HUMAN),
    }
    return dataclasses.replace(sample, explanations={"cot": texts})
