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
from teacherlm_jax.errors import UserError
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
EXPLAINED, PLAIN = 2100, 9100  # samples of stage 2, and of stage 1


def write_all(root: Path, seeds: Iterable[int]) -> None:
    """Write the files of a study: the vocabulary's, and those of each seed.

    Raises UserError if a file is there with other samples, which another version has written.
    """
    write_once(root / "vocabulary.jsonl", synthetic.generate(1800, VOCABULARY_SEED))
    for seed in seeds:
        for name, drawn in drawn_files(seed).items():
            write_once(root / f"seed-{seed}" / f"{name}.jsonl", drawn)


def drawn_files(seed: int) -> dict[str, Iterable[Sample]]:
    """Return the samples of a seed by the name of their file."""
    # Drawn as one, so that no sample is in two of these files.
    teachers = list(synthetic.generate(EXPLAINED + PLAIN + MAIN_AMOUNT, seed, TRAINED))
    tests = {
        "test": synthetic.generate(450, seed, split="test"),
        "trained": synthetic.generate(350, seed, TRAINED, "test"),
        "unseen": synthetic.generate(100, seed, HELD_OUT, "test"),
        "questions": synthetic.generate(105, seed, TRAINED, "unlabelled"),
    }
    return {
        **{  # permuted within each, so no text is from outside
            f"train-{amount}": with_authors(list(synthetic.generate(amount, seed)), seed)
            for amount in (MAIN_AMOUNT, *AMOUNTS)
        },
        "explained": teachers[:EXPLAINED],
        "plain": map(unexplained, teachers[EXPLAINED : EXPLAINED + PLAIN]),
        "taught": teachers[EXPLAINED + PLAIN :],
        **{name: map(unexplained, drawn) for name, drawn in tests.items()},
    }


def unexplained(sample: Sample) -> Sample:
    """Return the sample without its explanations."""
    return dataclasses.replace(sample, explanations={})


def write_once(path: Path, drawn: Iterable[Sample]) -> None:
    """Write samples to a file. Raises UserError if it is there with other ones."""
    rows = list(map(to_row, drawn))
    if not path.exists():
        files.write_jsonl(path, rows)
    elif [row for _, row in files.read_jsonl(path)] != rows:
        raise UserError(
            f"{path}: has other samples than this version of the study draws; choose another "
            "--folder, or delete the file and every run that read it"
        )


def with_authors(samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Yield samples with the explanations of all authors."""
    rng = random.Random(f"authors {seed}")
    permuted = permuted_within(samples, rng)
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


def permuted_within(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """Return for each sample another one of its family or source, each of them once."""
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
