"""What every family of generated problems has in common: facts, worded by one template, solved."""

import dataclasses
import functools
import random
import re
import string
import typing
from typing import ClassVar, Self

TRUE_FALSE = ("True", "False")


def conclusion(truth: bool) -> tuple[str, str]:
    """The right one of `TRUE_FALSE`, then the wrong one."""
    return TRUE_FALSE if truth else TRUE_FALSE[::-1]


@dataclasses.dataclass(frozen=True)
class Solution:
    """What follows from the facts of one problem.

    `answer` is one of the `options`. Each of the `mistakes` is a wrong path ("to look for who is
    younger") with the option that it leads to. Raises ValueError when that is no option, or is the
    right one.
    """

    options: tuple[str, ...]
    answer: str
    cot: str
    fundamental: str
    mistakes: tuple[tuple[str, str], ...]

    def __post_init__(self):
        for path, result in self.mistakes:
            if result == self.answer or result not in self.options:
                raise ValueError(f"{path!r} leads to {result!r}, which is no wrong option")

    def explanations(self, kind: str) -> tuple[str, ...]:
        """Every true text of one kind ("cot", "fundamental" or "mistake")."""
        mistakes = tuple(
            f"A common mistake is {path}, which gives {result}." for path, result in self.mistakes
        )
        texts = {"cot": (self.cot,), "fundamental": (self.fundamental,), "mistake": mistakes}
        return texts[kind]


@dataclasses.dataclass(frozen=True)
class Facts:
    """Base of the families: a frozen dataclass of str and int fields that `QUESTION` words.

    A family sets the class variables and defines `draw` and `solve`. The template serves both
    ways: `question` fills it in and `parse` reads the facts back out of it, so that the two cannot
    drift apart.
    """

    SUBJECT: ClassVar[str]
    QUESTION: ClassVar[str]

    @classmethod
    def draw(cls, rng: random.Random) -> Self:
        """Facts drawn at random."""
        raise NotImplementedError

    def solve(self) -> Solution:
        """Options, answer and true explanations; ValueError or KeyError for impossible facts."""
        raise NotImplementedError

    def question(self) -> str:
        """The question that states these facts."""
        return self.QUESTION.format(**vars(self))

    @classmethod
    def parse(cls, question: str) -> Self:
        """Facts that a question states; raises ValueError when it is not one of this family."""
        match = _pattern(cls.QUESTION).fullmatch(question)
        if match is None:
            raise ValueError(f"not worded like {cls.QUESTION!r}")
        types = typing.get_type_hints(cls)
        return cls(**{name: types[name](text) for name, text in match.groupdict().items()})


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Regular expression of a format string; a field that comes again must read the same."""
    pieces: list[str] = []
    seen: set[str] = set()
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces.append(re.escape(literal))
        if name is not None:
            pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>[A-Za-z0-9 ]+?)")
            seen.add(name)
    return re.compile("".join(pieces))
