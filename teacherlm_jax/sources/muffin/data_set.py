"""What a data set of Muffin is: where TFDS has it, its ten prompts, and where its answers stand."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.sample import LETTERS, SampleError, kind_of

Row = Mapping[str, Any]  # an example as TFDS gives it, in plain Python values
Answer = tuple[list[str], str]  # options (none: free text) and the answer, or the letter of one

PROMPTS = 10  # of a data set

_PATH_MARK = "."


@dataclasses.dataclass(frozen=True)
class Text:
    """The answer is free text in the field at `path`; where there are several, the first."""

    path: str

    def read(self, row: Row) -> Answer:
        """Its options and answer in a row; raises SampleError when there is none."""
        value = field(row, self.path)
        if isinstance(value, (list, tuple)):
            if not value:
                raise SampleError(f"{self.path} is empty")
            value = value[0]
        return [], tidy(value)


@dataclasses.dataclass(frozen=True)
class FixedOptions:
    """The answer is one of the same options for every row, told by the number at `path`."""

    path: str
    options: Mapping[int, str]

    def read(self, row: Row) -> Answer:
        """Its options and answer in a row; raises SampleError for a row without a label."""
        label = number_at(row, self.path)
        if label not in self.options:
            raise SampleError(f"{self.path} {label} is the label of no option")
        return list(self.options.values()), _letter(list(self.options).index(int(label)))


@dataclasses.dataclass(frozen=True)
class Choice:
    """The options are the row's own; the number at `path` tells the right one, from 0.

    `options` are the fields that hold one option each, or the one field that lists them all.
    """

    path: str
    options: tuple[str, ...]

    def read(self, row: Row) -> Answer:
        """Its options and answer in a row; raises SampleError for a row without a label."""
        found = _options(row, self.options)
        label = number_at(row, self.path)
        if label not in range(len(found)):
            raise SampleError(f"{self.path} {label} is the place of no option")
        return found, _letter(int(label))


@dataclasses.dataclass(frozen=True)
class Among:
    """The options are listed in a field of the row; the first text at `path` is the right one."""

    path: str
    options: str

    def read(self, row: Row) -> Answer:
        """Its options and answer in a row; raises SampleError when the answer is none of them."""
        found = list(dict.fromkeys(_options(row, (self.options,))))
        answer = Text(self.path).read(row)[1]
        if answer not in found:
            raise SampleError("the answer is no option")
        return found, _letter(found.index(answer))


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A question with slots in braces, and where its answer stands."""

    text: str
    answer: Text | FixedOptions | Choice | Among


def prompts(answer: Text | FixedOptions | Choice | Among, *texts: str) -> tuple[Prompt, ...]:
    """Several wordings of one question."""
    return tuple(Prompt(text, answer) for text in texts)


def labels(*options: str) -> dict[int, str]:
    """Options by their numbers, from 0."""
    return dict(enumerate(options))


def unchanged(row: Row) -> Row:
    """The row itself, for data sets whose rows can be asked about as they stand."""
    return row


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set of Muffin.

    Attributes:
        name: ours; names its sources.
        builders: what TFDS calls it, NAME[/CONFIG]/VERSION, which is also its folder there. More
            than one where rounds or levels of difficulty are data sets of TFDS.
        prompts: ten questions.
        slots: the field that fills each slot of the prompts.
        words: slots that the data set fills with the same words for every row.
        change: what is made of a row before; may raise SampleError for rows that are of no use.
        split: the training split.
        large: whether every builder has so many rows that no prompt needs those of another.
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
        """The fields of a sample: the row asked about in prompt `number`, from 1.

        Raises SampleError for rows that make no sample.
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
    """The value at a path such as "answers.text"; raises SampleError when there is none."""
    value: Any = row
    for name in path.split(_PATH_MARK):
        if not isinstance(value, Mapping) or name not in value:
            raise SampleError(f"no {path}")
        value = value[name]
    return value


def text_at(row: Row, path: str) -> str:
    """The text at a path; raises SampleError when there is none."""
    value = field(row, path)
    if not isinstance(value, str):
        raise SampleError(f"{path} is no text but {kind_of(value)}")
    return value


def texts_at(row: Row, path: str) -> list[str]:
    """The list of texts at a path; raises SampleError when there is none."""
    values = field(row, path)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise SampleError(f"{path} is no list of texts")
    return values


def number_at(row: Row, path: str) -> float:
    """The number at a path, such as a label; raises SampleError when there is none."""
    value = field(row, path)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SampleError(f"{path} is no number but {kind_of(value)}")
    return value


def tidy(text: Any) -> str:
    """A text without white space at its ends and without runs of blanks; lines stay lines."""
    if not isinstance(text, str):
        raise SampleError(f"{kind_of(text)} where a text should be")
    return re.sub(r"[ \t]+", " ", text).strip()


def numbered(texts: Sequence[str]) -> str:
    """The texts as lines, each with its number."""
    return "\n".join(f"{number}. {tidy(text)}" for number, text in enumerate(texts, start=1))


def _options(row: Row, paths: tuple[str, ...]) -> list[str]:
    found = texts_at(row, paths[0]) if len(paths) == 1 else [text_at(row, path) for path in paths]
    return [tidy(option) for option in found]


def _letter(index: int) -> str:
    if index >= len(LETTERS):
        raise SampleError(f"more options than the {len(LETTERS)} that can be told apart")
    return f"({LETTERS[index]})"
