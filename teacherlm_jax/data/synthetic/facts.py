"""Base of all families of generated problems: facts, a question template, and a solution."""

import dataclasses
import functools
import random
import re
import string
import typing
from typing import ClassVar, Self

TRUE_FALSE = ("True", "False")


def conclusion(truth: bool) -> tuple[str, str]:
    """Return the correct one of `TRUE_FALSE`, then the wrong one."""
    return TRUE_FALSE if truth else TRUE_FALSE[::-1]


@dataclasses.dataclass(frozen=True)
class Solution:
    """Solution of one problem, with its explanations.

    `answer` is one of the `options`. Each of the `mistakes` is a wrong approach ("to look for who
    is younger") with the option that it leads to. Raises ValueError if that is not a wrong option.
    """

    options: tuple[str, ...]
    answer: str
    cot: str
    fundamental: str
    mistakes: tuple[tuple[str, str], ...]

    def __post_init__(self):
        for path, result in self.mistakes:
            if result == self.answer or result not in self.options:
                raise ValueError(f"{path!r} leads to {result!r}, expected a wrong option")

    def explanations(self, kind: str) -> tuple[str, ...]:
        """Return every correct text of one kind ("cot", "fundamental" or "mistake")."""
        mistakes = tuple(
            f"A common mistake is {path}, which gives {result}." for path, result in self.mistakes
        )
        texts = {"cot": (self.cot,), "fundamental": (self.fundamental,), "mistake": mistakes}
        return texts[kind]


@dataclasses.dataclass(frozen=True)
class Facts:
    """Base class of the families: a frozen dataclass whose str and int fields fill `QUESTION`.

    A family sets the class variables and defines `draw` and `solve`. `question` fills in the
    template and `parse` reads the facts back from it, so the two always agree.
    """

    SUBJECT: ClassVar[str]
    QUESTION: ClassVar[str]

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Draw facts at random."""
        raise NotImplementedError

    def solve(self) -> Solution:
        """Return the solution; raise ValueError or KeyError for impossible facts."""
        raise NotImplementedError

    def question(self) -> str:
        """Return the question that states these facts."""
        return self.QUESTION.format(**vars(self))

    @classmethod
    def parse(cls, question: str) -> Self:
        """Return the facts of a question; raise ValueError if it is not one of this family."""
        match = _pattern(cls.QUESTION).fullmatch(question)
        if match is None:
            raise ValueError(f"expected a question like {cls.QUESTION!r}")
        types = typing.get_type_hints(cls)
        return cls(**{name: types[name](text) for name, text in match.groupdict().items()})


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Return a regular expression for a format string; a repeated field must have one value."""
    pieces: list[str] = []
    seen: set[str] = set()
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces.append(re.escape(literal))
        if name is not None:
            pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>[A-Za-z0-9 ]+?)")
            seen.add(name)
    return re.compile("".join(pieces))
