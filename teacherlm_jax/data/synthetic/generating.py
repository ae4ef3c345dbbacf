"""Draws samples of the families: balanced, never the same twice, with splits that share nothing."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence

from teacherlm_jax.data.sample import KINDS, LETTERS, Sample
from teacherlm_jax.data.synthetic.families import FAMILIES, source_of
from teacherlm_jax.errors import UserError

AUTHOR = "program"  # under whose name the true explanations are filed
SPLITS = {  # tenths of all possible questions; those of "unlabelled" come without explanations
    "train": range(8),
    "test": range(8, 9),
    "unlabelled": range(9, 10),
}
_TRIES = 2000  # draws in a row that bring nothing new before a family counts as used up


def generate(
    count: int, seed: int, families: Sequence[str] | None = None, split: str = "train"
) -> Iterator[Sample]:
    """Yields `count` samples, the families (all of them, or those named) taking turns.

    A question belongs to one split for good, whatever the seed, so that no question of one split is
    asked in another; within one call no question comes twice. The same arguments give the same
    samples everywhere. Explanations stand under the author `AUTHOR`, except in the split
    "unlabelled", which has none.

    Raises UserError for an unknown family or split, and once a family has no new sample left.
    """
    families = tuple(FAMILIES if families is None else families)
    _require_known("family", families, FAMILIES)
    _require_known("split", (split,), SPLITS)
    rng = random.Random(f"{seed} {split}")  # seeding with text does not depend on the process
    seen: set[str] = set()
    for index in range(count):
        name = families[index % len(families)]
        yield _draw(name, rng, split, seen, f"synthetic-{split}-{seed}-{index}")


def _require_known(what: str, names: Sequence[str], known: Iterable[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = ", ".join(map(repr, unknown)) or "none"
        raise UserError(f"synthetic {what}: {found}; the choices are {', '.join(known)}")


def _draw(name: str, rng: random.Random, split: str, seen: set[str], sample_id: str) -> Sample:
    """One sample of a family: its question is in the split and not in `seen`, which it joins."""
    family = FAMILIES[name]
    for _ in range(_TRIES):
        facts = family.draw(rng)
        question = facts.question()
        if question in seen or _tenth(question) not in SPLITS[split]:
            continue
        seen.add(question)
        solution = facts.solve()
        texts = {kind: {AUTHOR: rng.choice(solution.explanations(kind))} for kind in KINDS}
        return Sample(
            id=sample_id,
            question=question,
            options=solution.options,
            answer=f"({LETTERS[solution.options.index(solution.answer)]})",
            subject=family.SUBJECT,
            source=source_of(name),
            explanations={} if split == "unlabelled" else texts,
        )
    raise UserError(
        f"synthetic/{name}: no new sample in the split {split!r} after {_TRIES} draws; "
        f"ask for fewer samples or for more families"
    )


def _tenth(question: str) -> int:
    """Which tenth of all questions this one is in, from 0."""
    digest = hashlib.sha256(question.encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10
