"""Families about numbers: comparing quantities, also after a change or in another unit."""

import dataclasses
import random
from typing import ClassVar, Self

from teacherlm_jax.data.synthetic.facts import TRUE_FALSE, Facts, Solution, conclusion
from teacherlm_jax.data.synthetic.word_lists import NAMES

_THINGS = ("pens", "cups", "books", "coins", "cards", "rings")
_LARGEST = 20  # largest number in a comparison
_CHANGES = {"finds": ("find", "add", "plus", 1), "loses": ("lose", "subtract", "minus", -1)}
_CONVERSIONS = {  # unit, in plural and singular: (smaller unit, number of them in one unit)
    ("weeks", "week"): ("days", 7),
    ("years", "year"): ("months", 12),
    ("yards", "yard"): ("feet", 3),
    ("gallons", "gallon"): ("quarts", 4),
    ("quarts", "quart"): ("pints", 2),
    ("decades", "decade"): ("years", 10),
}
_FACTORS = {  # (unit, smaller unit): (singular of the unit, number of smaller units)
    (large, small): (one, factor) for (large, one), (small, factor) in _CONVERSIONS.items()
}
_LARGEST_RESULT = 24  # largest result of a conversion
_SPREAD = 6  # largest difference between the number in the question and the correct result


@dataclasses.dataclass(frozen=True)
class Comparison(Facts):
    """Somebody owns a number of things; is that more than another number?"""

    SUBJECT: ClassVar[str] = "comparing quantities"
    QUESTION: ClassVar[str] = (
        "{name} has {amount} {things}. True or false: {name} has more than {limit} {things}."
    )

    name: str
    amount: int
    things: str
    limit: int

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw a name, a thing and two different numbers."""
        amount, limit = rng.sample(range(2, _LARGEST + 1), 2)
        return cls(rng.choice(NAMES), amount, rng.choice(_THINGS), limit)

    def solve(self) -> Solution:
        """Return the solution: True if the amount is larger than the limit."""
        opposite = "fewer" if self.amount > self.limit else "more"
        return _more_than(
            self.amount,
            self.limit,
            self.things,
            steps=f"{self.name} has {self.amount} {self.things}",
            fundamental=f"To have more than {self.limit} {self.things} is to have at least "
            f"{self.limit + 1} {self.things}.",
            misbelief=f"{self.amount} {self.things} are {opposite} than {self.limit} {self.things}",
        )


@dataclasses.dataclass(frozen=True)
class Arithmetic(Facts):
    """Somebody owns things and finds or loses some; are there more than a number now?"""

    SUBJECT: ClassVar[str] = "arithmetic word problems"
    QUESTION: ClassVar[str] = (
        "{name} has {start} {things} and {verb} {change} {things}. "
        "True or false: {name} now has more than {limit} {things}."
    )

    name: str
    start: int
    things: str
    verb: str
    change: int
    limit: int

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw a start of 5 to 10, a change that leaves at least 3, and a limit near the result."""
        start = rng.randint(5, 10)
        change = rng.randint(2, start - 3)
        verb = rng.choice(tuple(_CHANGES))
        limit = _near(rng, start + _CHANGES[verb][-1] * change)
        return cls(rng.choice(NAMES), start, rng.choice(_THINGS), verb, change, limit)

    def solve(self) -> Solution:
        """Return the solution: add what is found or subtract what is lost, then compare."""
        verb, operation, sign_word, sign = _CHANGES[self.verb]
        result = self.start + sign * self.change
        equation = f"{self.start} {sign_word} {self.change} makes"
        return _more_than(
            result,
            self.limit,
            self.things,
            steps=f"{equation} {result} {self.things}",
            fundamental=f"To {verb} {self.things} is to {operation}, and {equation} {result} "
            f"{self.things}.",
            misbelief=f"{equation} {_wrong(result, self.limit)} {self.things}",
        )


@dataclasses.dataclass(frozen=True)
class Units(Facts):
    """Somebody needs some of a unit; is that more than a number of a smaller unit?"""

    SUBJECT: ClassVar[str] = "units of measure"
    QUESTION: ClassVar[str] = (
        "{name} {verb} {count} {large}. True or false: {name} {verb} more than {limit} {small}."
    )

    name: str
    verb: str
    count: int
    large: str
    limit: int
    small: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw two units, a count whose conversion is at most 24, and a limit near the result."""
        (large, _), (small, factor) = rng.choice(tuple(_CONVERSIONS.items()))
        count = rng.randint(2, _LARGEST_RESULT // factor)
        name, verb = rng.choice(NAMES), rng.choice(("has", "needs", "uses"))
        return cls(name, verb, count, large, _near(rng, count * factor), small)

    def solve(self) -> Solution:
        """Return the solution: multiply the count by the factor, then compare."""
        one, factor = _FACTORS[self.large, self.small]
        result = self.count * factor
        return _more_than(
            result,
            self.limit,
            self.small,
            steps=f"{self.count} times {factor} makes {result} {self.small}",
            fundamental=f"A {one} has {factor} {self.small}, so {self.count} {self.large} are "
            f"{result} {self.small}.",
            misbelief=f"{self.count} {self.large} are {_wrong(result, self.limit)} {self.small}",
        )


def _near(rng: random.Random, result: int) -> int:
    """Draw a number of at least 2 near the result, above or below it with equal probability."""
    if rng.random() < 0.5:
        return rng.randint(max(result - _SPREAD, 2), result - 1)
    return rng.randint(result + 1, result + _SPREAD)


def _wrong(amount: int, limit: int) -> int:
    """Return an amount that leads to the wrong answer when it is compared with the limit."""
    return limit if amount > limit else limit + 1


def _more_than(
    amount: int, limit: int, things: str, *, steps: str, fundamental: str, misbelief: str
) -> Solution:
    """Return the solution of "more than `limit`".

    Args:
        amount: number that is compared.
        limit: number that it is compared with.
        things: unit of both.
        steps: sentence that derives the amount.
        fundamental: the explanation of that kind.
        misbelief: a false statement that leads to the wrong answer.
    """
    if amount == limit:
        raise ValueError(f"both numbers are {limit}")
    relation = "more" if amount > limit else "fewer"
    answer, wrong = conclusion(amount > limit)
    return Solution(
        options=TRUE_FALSE,
        answer=answer,
        cot=f"{steps}. {amount} {things} are {relation} than {limit} {things}, "
        f"so the answer is {answer}.",
        fundamental=fundamental,
        mistakes=(
            (f"to look for fewer than {limit} {things}", wrong),
            (f"to think that {misbelief}", wrong),
        ),
    )
