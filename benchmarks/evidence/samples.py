"""Generated samples of the study, whose explanations are true, permuted, or false by design.

Each sample of a training set has its explanations under several authors:

- `program`: the true ones;
- `permuted`: those of another sample of the same file and family, each used once, so all texts and
  their tokens are the same as with `program`; a few fit their new sample by chance;
- `falseP`, for each P of FALSE_SHARES: in P % of the samples those of another sample of the same
  family with another answer, and in the others the true ones.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, Sample, to_row
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT
from teacherlm_jax.pipelines.evidence_steps.study_students import (
    AMOUNTS,
    FALSE_SHARES,
    PERMUTED_AUTHOR,
    false_author,
)
from teacherlm_jax.storage import files

HELD_OUT = ("chain", "months")  # families that teachers are never trained on
TRAINED = tuple(sorted(set(synthetic.FAMILIES) - set(HELD_OUT)))
VOCABULARY_SEED = 99


def write_all(root: Path, seeds: Iterable[int]) -> None:
    """Write the files of a study that are missing: the vocabulary's, and those of each seed."""
    _write(root / "vocabulary.jsonl", 1800, VOCABULARY_SEED, "train")
    for seed in seeds:
        folder = root / f"seed-{seed}"
        for amount in (MAIN_AMOUNT, *AMOUNTS):  # permuted within each, so no text is from outside
            _write(folder / f"train-{amount}.jsonl", amount, seed, "train")
        _write(folder / "students.jsonl", MAIN_AMOUNT, seed, "train", explained=False)
        _write(folder / "test.jsonl", 450, seed, "test")
        # Drawn as one, so that no explained sample is among those of stage 1.
        _write(folder / "explained.jsonl", 2100, seed, "train", TRAINED)
        _write(folder / "plain.jsonl", 9100, seed, "train", TRAINED, skip=2100)
        _write(folder / "trained.jsonl", 350, seed, "test", TRAINED)
        _write(folder / "unseen.jsonl", 100, seed, "test", HELD_OUT)
        _write(folder / "questions.jsonl", 105, seed, "unlabelled", TRAINED)


def _write(
    path: Path,
    count: int,
    seed: int,
    split: str,
    families: Sequence[str] | None = None,
    skip: int = 0,
    explained: bool = True,
) -> None:
    """Write `count` samples of a split to a jsonl file after the first `skip`, unless it is there.

    If `explained`, those of the split "train" have explanations of all authors.
    """
    if path.exists():
        return
    drawn = list(synthetic.generate(skip + count, seed, families, split))
    samples: Sequence[Sample] = drawn[skip:]
    if explained and split == "train":
        samples = list(with_authors(samples, seed))
    else:
        samples = [dataclasses.replace(sample, explanations={}) for sample in samples]
    files.write_jsonl(path, map(to_row, samples))


def with_authors(samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Yield samples with the explanations of all authors."""
    rng = random.Random(f"authors {seed}")
    permuted = _permuted(samples, rng)
    false = _false(samples, rng)
    for index, sample in enumerate(samples):
        rank = rng.random() * 100  # false with every share above it
        authors = {PERMUTED_AUTHOR: permuted[index]}
        authors |= {
            false_author(share): false[index] if rank < share else sample for share in FALSE_SHARES
        }
        texts = {
            kind: {synthetic.AUTHOR: text_of(sample, kind)}
            | {author: text_of(other, kind) for author, other in authors.items()}
            for kind in KINDS
        }
        yield dataclasses.replace(sample, explanations=texts)


def text_of(sample: Sample, kind: str) -> str:
    """Return the true explanation of a generated sample."""
    return sample.explanations[kind][synthetic.AUTHOR]


def _permuted(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """Return for each sample another one of its family, each of them once."""
    others = list(samples)
    for members in _families(samples):
        shuffled = members.copy()
        rng.shuffle(shuffled)
        for one, next_one in zip(shuffled, shuffled[1:] + shuffled[:1], strict=True):
            others[one] = samples[next_one]
    return others


def _false(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """Return for each sample a random one of its family whose answer is another text."""
    others = list(samples)
    for members in _families(samples):
        for one in members:
            answer = _answer(samples[one])
            wrong = [other for other in members if _answer(samples[other]) != answer]
            others[one] = samples[rng.choice(wrong)]
    return others


def _answer(sample: Sample) -> str:
    return sample.options[sample.answer_index]


def _families(samples: Sequence[Sample]) -> list[list[int]]:
    """Return the indices of the samples of each family."""
    members: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        members.setdefault(sample.source, []).append(index)
    return list(members.values())
