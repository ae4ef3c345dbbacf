"""Definition of a Muffin dataset: its name in TFDS, its ten prompts, and its answers."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.sample import LETTERS, SampleError, kind_of

Row = Mapping[str, Any]  # an example of TFDS in plain Python values
Answer = tuple[list[str], str]  # options (empty: free text), and the answer or its letter

PROMPTS = 10  # per dataset

_PATH_MARK = "."


@dataclasses.dataclass(frozen=True)
class Text:
    """Free-text answers: the text in the field at `path`, or the first if it is a list."""

    path: str

    def read(self, row: Row) -> Answer:
        """Return the options and the answer of a row; raise SampleError if it has no answer."""
        value = field(row, self.path)
        if isinstance(value, (list, tuple)):
            if not value:
                raise SampleError(f"{self.path} is empty")
            value = value[0]
        return [], tidy(value)


@dataclasses.dataclass(frozen=True)
class FixedOptions:
    """The same options for every row; the number at `path` is the label of the answer."""

    path: str
    options: Mapping[int, str]

    def read(self, row: Row) -> Answer:
        """Return the options and the answer of a row; raise SampleError if it has no label."""
        label = number_at(row, self.path)
        if label not in self.options:
            raise SampleError(f"{self.path} is {label}, which is not the label of an option")
        return list(self.options.values()), _letter(list(self.options).index(int(label)))


@dataclasses.dataclass(frozen=True)
class Choice:
    """Options that differ by row; the number at `path` is the index of the answer, from 0.

    `options` names the fields with one option each, or the one field with a list of them.
    """

    path: str
    options: tuple[str, ...]

    def read(self, row: Row) -> Answer:
        """Return the options and the answer of a row; raise SampleError if it has no label."""
        options = _options(row, self.options)
        label = number_at(row, self.path)
        if label not in range(len(options)):
            raise SampleError(f"{self.path} is {label}, which is not the index of an option")
        return options, _letter(int(label))


@dataclasses.dataclass(frozen=True)
class ListedOptions:
    """Options listed in a field of the row; the first text at `path` is the answer."""

    path: str
    options: str

    def read(self, row: Row) -> Answer:
        """Return the options and the answer of a row; raise SampleError if it is not an option."""
        options = list(dict.fromkeys(_options(row, (self.options,))))
        answer = Text(self.path).read(row)[1]
        if answer not in options:
            raise SampleError("the answer is not one of the options")
        return options, _letter(options.index(answer))


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A question with slots in braces, and a reader of its answer from a row."""

    text: str
    answer: Text | FixedOptions | Choice | ListedOptions


def prompts(
    answer: Text | FixedOptions | Choice | ListedOptions, *texts: str
) -> tuple[Prompt, ...]:
    """Return prompts that ask one question in several wordings."""
    return tuple(Prompt(text, answer) for text in texts)


def labels(*options: str) -> dict[int, str]:
    """Return options by their labels, from 0."""
    return dict(enumerate(options))


def unchanged(row: Row) -> Row:
    """Return the row itself, for datasets whose rows need no change."""
    return row


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """A dataset of Muffin.

    Attributes:
        name: name of the dataset, with which the names of its sources begin.
        builders: names in TFDS, NAME[/CONFIG]/VERSION, which are also paths in its data folder;
            several if rounds or levels of difficulty are separate datasets in TFDS.
        prompts: ten prompts.
        slots: fields that fill the slots of the prompts, by slot.
        words: texts that fill slots in every row, by slot.
        change: preprocesses a row; may raise SampleError for a row that cannot be used.
        split: the training split.
        large: every builder has enough rows for different rows in each prompt.
    """

    name: str
    builders: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    slots: Mapping[str, str]
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    change: Callable[[Row], Row] = unchanged
    split: str = "train"
    large: bool = False

    def to_fields(self, number: int, row: Row) -> dict[str, Any]:
        """Return the fields of a sample: the row with prompt `number`, from 1.

        Raises SampleError for a row that cannot be used.
        """
        prompt, row = self.prompts[number - 1], self.change(row)
        filled = {slot: tidy(field(row, path)) for slot, path in self.slots.items()}
        for slot, text in filled.items():
            if not text:
                raise SampleError(f"empty {self.slots[slot]}")
        options, answer = prompt.answer.read(row)
        question = prompt.text.format(**filled, **self.words)
        return {"question": question, "options": options, "answer": answer}


def field(row: Row, path: str) -> Any:
    """Return the value at a path such as "answers.text"; raise SampleError if it is missing."""
    value: Any = row
    for name in path.split(_PATH_MARK):
        if not isinstance(value, Mapping) or name not in value:
            raise SampleError(f"no {path}")
        value = value[name]
    return value


def text_at(row: Row, path: str) -> str:
    """Return the text at a path; raise SampleError if it is missing or not a text."""
    value = field(row, path)
    if not isinstance(value, str):
        raise SampleError(f"{path} is {kind_of(value)}, expected text")
    return value


def texts_at(row: Row, path: str) -> list[str]:
    """Return the texts at a path; raise SampleError if it is not a list of texts."""
    values = field(row, path)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise SampleError(f"{path} is not a list of texts")
    return values


def number_at(row: Row, path: str) -> float:
    """Return the number at a path; raise SampleError if it is missing or not a number."""
    value = field(row, path)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SampleError(f"{path} is {kind_of(value)}, expected a number")
    return value


def tidy(text: Any) -> str:
    """Strip a text and collapse runs of spaces and tabs; line breaks stay."""
    if not isinstance(text, str):
        raise SampleError(f"expected text, got {kind_of(text)}")
    return re.sub(r"[ \t]+", " ", text).strip()


def numbered(texts: Sequence[str]) -> str:
    """Return the texts as numbered lines."""
    return "\n".join(f"{number}. {tidy(text)}" for number, text in enumerate(texts, start=1))


def _options(row: Row, paths: tuple[str, ...]) -> list[str]:
    found = texts_at(row, paths[0]) if len(paths) == 1 else [text_at(row, path) for path in paths]
    return [tidy(option) for option in found]


def _letter(index: int) -> str:
    if index >= len(LETTERS):
        raise SampleError(f"more than {len(LETTERS)} options")
    return f"({LETTERS[index]})"
