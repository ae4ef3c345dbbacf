"""Families about relations: kinds of things, membership in a set, and transitive comparison."""

import dataclasses
import random
from typing import ClassVar, Self

from teacherlm_jax.data.synthetic.facts import TRUE_FALSE, Facts, Solution, conclusion
from teacherlm_jax.data.synthetic.word_lists import NAMES, capitalised, listed, with_article

_KINDS = {
    "fruit": ("apple", "fig", "lemon", "pear", "plum"),
    "animal": ("cat", "cow", "dog", "duck", "horse"),
    "tool": ("axe", "drill", "hammer", "saw", "spade"),
    "instrument": ("drum", "flute", "harp", "organ", "violin"),
}
_MARKS = {  # a property by which a kind is recognized
    "fruit": "grows on a plant",
    "animal": "eats and breathes",
    "tool": "helps with work",
    "instrument": "makes music",
}
_KIND_OF = {thing: kind for kind, things in _KINDS.items() for thing in things}
_VERBS = ("brings", "gives", "sells", "shows")
_HOLDERS = ("bag", "basket", "box", "drawer")
_HELD = ("balls", "belts", "combs", "forks", "gloves", "hats", "keys", "knives", "lamps", "spoons")
_PAIRS = (("taller", "shorter"), ("faster", "slower"), ("older", "younger"))
_OPPOSITES = dict(_PAIRS) | {second: first for first, second in _PAIRS}


@dataclasses.dataclass(frozen=True)
class Kinds(Facts):
    """Somebody gives somebody a thing; which kind of thing is it?"""

    SUBJECT: ClassVar[str] = "kinds of things"
    QUESTION: ClassVar[str] = "{first} {verb} {second} {thing}. Which kind of thing is that?"

    first: str
    verb: str
    second: str
    thing: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw two names, a verb and a thing; every kind has the same number of things."""
        first, second = rng.sample(NAMES, 2)
        return cls(first, rng.choice(_VERBS), second, with_article(rng.choice(tuple(_KIND_OF))))

    def solve(self) -> Solution:
        """Return the solution: the kind of the thing; the other kinds are the mistakes."""
        kind = _KIND_OF[self.thing.split()[1]]
        mark, thing = _MARKS[kind], capitalised(self.thing)
        return Solution(
            options=tuple(_KINDS),
            answer=kind,
            cot=f"{self.first} {self.verb} {self.second} {self.thing}. {thing} {mark}, "
            f"so it is {with_article(kind)}.",
            fundamental=f"{thing} {mark}, and what {mark} is {with_article(kind)}.",
            mistakes=tuple(
                (f"to take {self.thing} for {with_article(other)}", other)
                for other in _KINDS
                if other != kind
            ),
        )


@dataclasses.dataclass(frozen=True)
class Membership(Facts):
    """Three sorts of things are in a box; is the sort that is asked about among them?"""

    SUBJECT: ClassVar[str] = "set membership"
    QUESTION: ClassVar[str] = (
        "The {holder} holds {one}, {two} and {three}. "
        "True or false: there are {sought} in the {holder}."
    )

    holder: str
    one: str
    two: str
    three: str
    sought: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw three sorts, and a sought one that is among them with probability 1/2."""
        one, two, three, stranger = rng.sample(_HELD, 4)
        sought = rng.choice((stranger, rng.choice((one, two, three))))
        return cls(rng.choice(_HOLDERS), one, two, three, sought)

    def solve(self) -> Solution:
        """Return the solution: True if the sought sort is one of the three."""
        held = (self.one, self.two, self.three)
        if len(set(held)) < len(held):
            raise ValueError("the same things are listed twice")
        answer, wrong = conclusion(self.sought in held)
        if self.sought in held:
            amount, paths = "are", [f"to overlook the {self.sought}"]
        else:
            amount, paths = "are no", [f"to take {things} for {self.sought}" for things in held]
        return Solution(
            options=TRUE_FALSE,
            answer=answer,
            cot=f"The {self.holder} holds {listed(held)}. So there {amount} {self.sought} in the "
            f"{self.holder}, and the answer is {answer}.",
            fundamental=f"Nothing is in the {self.holder} but {listed(held)}.",
            mistakes=tuple((path, wrong) for path in paths),
        )


@dataclasses.dataclass(frozen=True)
class Chain(Facts):
    """One person exceeds a second, who exceeds a third; how do the first and the third compare?"""

    SUBJECT: ClassVar[str] = "transitive relations"
    QUESTION: ClassVar[str] = (
        "{first} is {relation} than {second}. {second} is {relation} than {third}. "
        "True or false: {first} is {claimed} than {third}."
    )

    first: str
    relation: str
    second: str
    third: str
    claimed: str

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw three names, a comparative, and either the same one or its opposite to ask about."""
        first, second, third = rng.sample(NAMES, 3)
        relation = rng.choice(tuple(_OPPOSITES))
        return cls(first, relation, second, third, rng.choice((relation, _OPPOSITES[relation])))

    def solve(self) -> Solution:
        """Return the solution: the relation is transitive."""
        first, second, third, relation = self.first, self.second, self.third, self.relation
        opposite = _OPPOSITES[relation]
        if len({first, second, third}) < 3 or self.claimed not in (relation, opposite):
            raise ValueError("the answer does not follow from the premises")
        answer, wrong = conclusion(self.claimed == relation)
        premises = f"{first} is {relation} than {second} and {second} is {relation} than {third}"
        return Solution(
            options=TRUE_FALSE,
            answer=answer,
            cot=f"{premises}. So {first} is {relation} than {third}, and the answer is {answer}.",
            fundamental=f"If {premises}, then {first} is {relation} than {third}.",
            mistakes=(
                (f"to mix up {relation} and {opposite}", wrong),
                (f"to think that {third} is {relation} than {first}", wrong),
            ),
        )
