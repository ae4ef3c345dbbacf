"""Generation of samples: balanced families, no duplicates, and splits that share no question."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data.sample import KINDS, LETTERS, Sample, to_row
from teacherlm_jax.data.synthetic.families import FAMILIES, source_of
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

AUTHOR = "program"  # author of the generated explanations
SPLITS = {  # tenths of all possible questions; samples of "unlabelled" have no explanations
    "train": range(8),
    "test": range(8, 9),
    "unlabelled": range(9, 10),
}
_TRIES = 2000  # consecutive draws without a new question after which a family is exhausted


def generate(
    count: int, seed: int, families: Sequence[str] | None = None, split: str = "train"
) -> Iterator[Sample]:
    """Yield samples of the families in turn.

    A question belongs to the same split for every seed, so splits share no question. One call
    yields no question twice. The same arguments give the same samples on every machine.
    Explanations are by `AUTHOR`; samples of the split "unlabelled" have none.

    Args:
        count: number of samples.
        seed: seed of the random draws.
        families: names of families, keys of FAMILIES; None: all.
        split: a key of SPLITS.

    Raises:
        UserError: a family or the split is unknown, or a family has no new sample left.
    """
    families = tuple(FAMILIES if families is None else families)
    _require_known("family", families, FAMILIES)
    _require_known("split", (split,), SPLITS)
    rng = random.Random(f"{seed} {split}")  # seeding with text does not depend on the process
    seen: set[str] = set()
    for index in range(count):
        name = families[index % len(families)]
        yield _draw(name, rng, split, seen, f"synthetic-{split}-{seed}-{index}")


def write(
    path: epath.PathLike, count: int, seed: int = 0, *, split: str = "train"
) -> list[dict[str, Any]]:
    """Write generated samples to a jsonl file in the sample format, and return its rows.

    Only the samples of the split "train" have explanations. The arguments and errors are those of
    `generate`; the file is replaced.
    """
    rows = [to_row(sample) for sample in generate(count, seed, split=split)]
    if split != "train":
        rows = [{**row, "explanations": {}} for row in rows]
    files.write_jsonl(path, rows)
    return rows


def _require_known(key: str, names: Sequence[str], known: Iterable[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        shown = ", ".join(map(repr, unknown)) or "none"
        raise UserError(f"synthetic {key}: got {shown}, expected one of {', '.join(known)}")


def _draw(name: str, rng: random.Random, split: str, seen: set[str], sample_id: str) -> Sample:
    """Return a sample with a new question of the split, which is added to `seen`."""
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
    """Return the tenth of all questions that a question belongs to, from 0 to 9."""
    digest = hashlib.sha256(question.encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10
