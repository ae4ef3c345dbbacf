"""Word problems of several steps, whose chains of thought are true by construction.

    Ann has 7 pens, finds 3, loses 2 and finds 6. How many pens does Ann have now?
    7 plus 3 makes 10. 10 minus 2 makes 8. 8 plus 6 makes 14.

The answer is a number, so a wrong chain of thought seldom leads to the right answer by chance. A
model that answers at once has to do all steps in its head.
"""

import dataclasses
import hashlib
import random
from collections.abc import Iterator, Sequence

from teacherlm_jax.data.sample import Sample

AUTHOR = "program"
LARGEST = 20  # of all numbers of things on the way
SPLITS = {"train": range(9), "test": range(9, 10)}  # tenths of all problems
_NAMES = ("Ann", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
_THINGS = ("pens", "cups", "books", "coins", "cards", "rings")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A number of things and its changes; `name` and `thing` do not matter for the solution."""

    name: str
    thing: str
    start: int
    changes: tuple[int, ...]

    @property
    def tenth(self) -> int:
        """Tenth of all problems to which this one belongs, whatever its names are."""
        digest = hashlib.sha256(repr((self.start, self.changes)).encode()).digest()
        return digest[0] % 10

    def question(self) -> str:
        """Return the question."""
        parts = [f"{'finds' if change > 0 else 'loses'} {abs(change)}" for change in self.changes]
        said = ", ".join([f"{self.name} has {self.start} {self.thing}", *parts[:-1]])
        return f"{said} and {parts[-1]}. How many {self.thing} does {self.name} have now?"

    def steps(self) -> Iterator[str]:
        """Yield a sentence for each change."""
        amount = self.start
        for change in self.changes:
            sign = "plus" if change > 0 else "minus"
            yield f"{amount} {sign} {abs(change)} makes {amount + change}."
            amount += change

    def sample(self, id: str, kind: str = "cot") -> Sample:
        """Return the problem with its answer and its steps, as an explanation of this kind."""
        return Sample(
            id=id,
            question=self.question(),
            answer=str(self.start + sum(self.changes)),
            source="star/steps",
            explanations={kind: {AUTHOR: " ".join(self.steps())}},
        )


def problems(count: int, seed: int, lengths: Sequence[int], split: str) -> Iterator[Problem]:
    """Yield different problems with these numbers of steps in turn; splits share no problem."""
    rng = random.Random(f"{seed} {split}")
    seen: set[Problem] = set()
    while len(seen) < count:
        problem = _draw(rng, lengths[len(seen) % len(lengths)])
        if problem not in seen and problem.tenth in SPLITS[split]:
            seen.add(problem)
            yield problem


def _draw(rng: random.Random, length: int) -> Problem:
    amount = start = rng.randint(2, LARGEST)
    changes: list[int] = []
    for _ in range(length):
        choices = [n for n in range(-9, 10) if n and 0 < amount + n <= LARGEST]
        changes.append(rng.choice(choices))
        amount += changes[-1]
    return Problem(rng.choice(_NAMES), rng.choice(_THINGS), start, tuple(changes))
