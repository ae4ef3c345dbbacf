"""Families about the calendar: days of the week, months of birth, and seasons."""

import dataclasses
import random
from typing import ClassVar, Self

from teacherlm_jax.data.synthetic.facts import Facts, Solution
from teacherlm_jax.data.synthetic.word_lists import EVENTS, NAMES, listed

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_SEASONS = {
    "winter": ("December", "January", "February"),
    "spring": ("March", "April", "May"),
    "summer": ("June", "July", "August"),
    "autumn": ("September", "October", "November"),
}
_SEASON_OF = {month: season for season, months in _SEASONS.items() for month in months}


@dataclasses.dataclass(frozen=True)
class Weekdays(Facts):
    """Two events are on different days of one week; which comes first?"""

    SUBJECT: ClassVar[str] = "days of the week"
    QUESTION: ClassVar[str] = (
        "The {first} is on {one}, but the {second} is on {other} of the same week. "
        "Which comes first?"
    )

    first: str
    one: str
    second: str
    other: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw two events and two different days."""
        first, second = rng.sample(EVENTS, 2)
        one, other = rng.sample(_DAYS, 2)
        return cls(first, one, second, other)

    def solve(self) -> Solution:
        """Return the solution: the event on the earlier day, where a week begins on Monday."""
        events = [(self.one, f"the {self.first}"), (self.other, f"the {self.second}")]
        (early, right), (late, wrong) = _in_order(events, _DAYS)
        days = _DAYS.index(late) - _DAYS.index(early)
        plural = "days" if days > 1 else "day"
        return Solution(
            options=(f"the {self.first}", f"the {self.second}"),
            answer=right,
            cot=f"The {self.first} is on {self.one} and the {self.second} is on {self.other}. "
            f"{early} comes before {late}, so {right} comes first.",
            fundamental=f"In a week {late} comes {days} {plural} after {early}.",
            mistakes=(
                ("to look for what comes last", wrong),
                (f"to think that {late} comes before {early}", wrong),
            ),
        )


@dataclasses.dataclass(frozen=True)
class Months(Facts):
    """Two people were born in different months of one year; who is older?"""

    SUBJECT: ClassVar[str] = "months of the year"
    QUESTION: ClassVar[str] = (
        "{first} was born in {one}, but {second} was born in {other} of the same year. "
        "Who is older?"
    )

    first: str
    one: str
    second: str
    other: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw two names and two different months."""
        first, second = rng.sample(NAMES, 2)
        one, other = rng.sample(_MONTHS, 2)
        return cls(first, one, second, other)

    def solve(self) -> Solution:
        """Return the solution: the person who was born in the earlier month."""
        births = [(self.one, self.first), (self.other, self.second)]
        (early, right), (late, wrong) = _in_order(births, _MONTHS)
        order = f"{early} comes before {late}"
        return Solution(
            options=(self.first, self.second),
            answer=right,
            cot=f"{self.first} was born in {self.one} and {self.second} was born in {self.other}. "
            f"{order}, so {right} is older.",
            fundamental=f"The older one of two was born earlier, and {order}.",
            mistakes=(
                ("to look for who is younger", wrong),
                (f"to think that {late} comes before {early}", wrong),
            ),
        )


@dataclasses.dataclass(frozen=True)
class Seasons(Facts):
    """An event is planned in a month; which season is that?"""

    SUBJECT: ClassVar[str] = "months and seasons"
    QUESTION: ClassVar[str] = (
        "{first} and {second} plan a {event} in {month}. Which season is that in the north?"
    )

    first: str
    second: str
    event: str
    month: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw two names, an event and a month."""
        first, second = rng.sample(NAMES, 2)
        return cls(first, second, rng.choice(EVENTS), rng.choice(_MONTHS))

    def solve(self) -> Solution:
        """Return the solution: the season of the month; the other seasons are the mistakes."""
        season = _SEASON_OF[self.month]
        return Solution(
            options=tuple(_SEASONS),
            answer=season,
            cot=f"The {self.event} is in {self.month}. {self.month} is a month of {season}, "
            f"so the season is {season}.",
            fundamental=f"In the north {season} is {listed(_SEASONS[season])}.",
            mistakes=tuple(
                (f"to take {self.month} for a month of {other}", other)
                for other in _SEASONS
                if other != season
            ),
        )


def _in_order(
    dated: list[tuple[str, str]], calendar: tuple[str, ...]
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return two (date, event) pairs, the earlier one first; raise ValueError for equal dates."""
    first, last = sorted(dated, key=lambda pair: calendar.index(pair[0]))
    if first[0] == last[0]:
        raise ValueError(f"both dates are {first[0]}")
    return first, last
