"""Rows of any layout as samples, by a config that says which column holds what."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.labels import Label
from teacherlm_jax.data.sample import (
    KINDS,
    LETTERS,
    SampleError,
    kind_of,
    resolve_answer,
    resolve_text,
)
from teacherlm_jax.errors import UserError

RawRow = Mapping[str, Any]

_MISSING = object()
_LETTER = re.compile(r"\(?[A-Z]\)?[.)]?")  # of an option


def wanted(config: SourceConfig) -> tuple[str, ...]:
    """The columns that a source's format reads; empty: it may read any."""
    if config.format != "columns":
        return ()
    named = config.columns
    options, explained = named.options, (getattr(named, kind) for kind in KINDS)
    names = (named.question, named.answer, *options, named.subject, named.id, *explained)
    return tuple(dict.fromkeys(name for name in names if name))


def column_of(name: str, there: Collection[str]) -> str:
    """The column of a name, which may lead into it by dots, where `there` are the columns."""
    return name if name in there else name.partition(".")[0]


class Unseen:
    """The columns that a source's config names and none of its rows has had so far.

    Attributes:
        all_read: whether no row is left to look at; the reader of the rows sets it.
    """

    def __init__(self, config: SourceConfig):
        self.all_read = False
        self._source = config.name
        self._names = set(wanted(config))
        self._there: dict[str, None] = {}

    def look(self, row: RawRow) -> None:
        """Takes note of the columns of one more row."""
        if self._names:
            self._names = {name for name in self._names if column_of(name, row) not in row}
            self._there |= dict.fromkeys(row)

    def refuse(self) -> None:
        """Raises UserError that names such columns and those of the rows, if there are any.

        While there are rows left, such as those beyond a limit, they may have them.
        """
        if self._names and self.all_read:
            raise UserError(
                f"source {self._source!r}: no row has a column {' or '.join(sorted(self._names))}; "
                f"the columns are {', '.join(self._there)}"
            )


def from_columns(named: ColumnsConfig, row: RawRow) -> dict[str, Any]:
    """What `from_row` makes a sample of; it is empty where there is no column or a null.

    Raises SampleError that names the column: where there is no question or answer, where an answer
    chooses among options that are not there, and where it holds something else.
    """
    options, labels = _options(row, named.options) if named.options else ([], [])
    question = _required(row, named.question)
    if not isinstance(question, str):
        raise SampleError(f"column {named.question!r} holds {kind_of(question)} and no text")
    return {
        "id": _optional(row, named.id),
        "question": question,
        "options": options,
        "answer": _answer(row, named, options, labels),
        "subject": _optional(row, named.subject),
        "explanations": {
            kind: {named.author: text}
            for kind in KINDS
            if (text := _optional(row, getattr(named, kind)))
        },
    }


def _answer(
    row: RawRow, named: ColumnsConfig, options: Sequence[str], labels: Sequence[str]
) -> str:
    """Free text, or with options the letter of the right one."""
    value = _required(row, named.answer)
    if isinstance(value, Label):
        meant = named.answer_is or ("number" if named.options else "text")
        value = int(value) if meant == "number" else value
    text = _as_text(value, named.answer)
    if not options:
        if named.options and _needs_options(value, named.answer_is):
            raise SampleError(
                f"column {named.answer!r} holds a letter or number, but there are no options"
            )
        return text
    if named.answer_is == "text":
        return resolve_text(text, options)
    if named.answer_is == "number" or (not named.answer_is and _is_whole(value)):
        letter = _by_number(text, named, len(options))
    elif text in labels:
        letter = f"({LETTERS[labels.index(text)]})"
    elif named.answer_is == "letter":
        letter = f"({text.strip().strip('().').upper()})"
    else:
        letter = resolve_answer(text, options)
    if not named.answer_is and not _agree(letter, text, options, labels):
        raise SampleError(
            f"column {named.answer!r} is one option's number or label and another one's label or "
            "text; say with answer_is which is meant"
        )
    return letter


def _needs_options(value: Any, answer_is: str) -> bool:
    """Whether an answer says nothing without options to choose from."""
    if answer_is:
        return answer_is != "text"
    return _is_whole(value) or (isinstance(value, str) and bool(_LETTER.fullmatch(value.strip())))


def _agree(letter: str, text: str, options: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether labels and options that equal an answer are those of its letter."""
    equal = [place for texts in (labels, options) for place, t in enumerate(texts) if t == text]
    return all(f"({LETTERS[place]})" == letter for place in equal)


def _by_number(text: str, named: ColumnsConfig, count: int) -> str:
    try:
        index = int(text) - named.first
    except ValueError:
        raise SampleError(f"column {named.answer!r} holds no whole number") from None
    if not 0 <= index < count:
        raise SampleError(
            f"column {named.answer!r} is none of {count} options counted from {named.first}"
        )
    return f"({LETTERS[index]})"


def _options(row: RawRow, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options and, where they have some of their own, their labels.

    One column holds a list of texts; an object of texts by label; or labels and texts, as a list of
    objects or an object of lists. Several hold an option each. Nulls at the end are no options, and
    a row without any asks for free text.
    """
    found = [_find(row, name) for name in names]
    if all(value is _MISSING for value in found):
        raise _no_column(row, names[0])
    if len(names) > 1:
        return _texts([None if value is _MISSING else value for value in found], names[0]), []
    (name,), (value,) = names, found
    labels: Any = []
    if _is_null(value):
        return [], []
    if isinstance(value, list) and value and all(map(_is_labelled, value)):
        labels, value = [each["label"] for each in value], [each["text"] for each in value]
    elif _is_labelled(value):
        labels, value = value["label"], value["text"]
    elif isinstance(value, Mapping):
        labels, value = list(value), list(value.values())
    if not isinstance(value, list) or not isinstance(labels, list):
        raise SampleError(f"column {name!r} holds {kind_of(value)} and no list of options")
    texts = _texts(value, name)
    return texts, _labels(labels, len(texts), name)


def _labels(values: Sequence[Any], count: int, name: str) -> list[str]:
    """Those of `count` options, or none at all."""
    labels = [_as_text(value, name) for value in values[:count]]
    if labels and len(set(labels)) < count:
        raise SampleError(f"column {name!r} holds {len(set(labels))} labels of {count} options")
    return labels


def _is_labelled(value: Any) -> bool:
    return isinstance(value, Mapping) and {"label", "text"} <= value.keys()


def _texts(values: Sequence[Any], name: str) -> list[str]:
    end = len(values)
    while end and values[end - 1] in (None, ""):
        end -= 1
    if end > len(LETTERS):
        raise SampleError(f"column {name!r} holds {end} options, more than there are letters")
    return [_as_text(value, name) for value in values[:end]]


def _required(row: RawRow, name: str) -> Any:
    value = _find(row, name)
    if value is _MISSING:
        raise _no_column(row, name)
    if _is_null(value):
        raise SampleError(f"column {name!r} is null")
    return value


def _no_column(row: RawRow, name: str) -> SampleError:
    return SampleError(f"no column {name!r}; the columns are {', '.join(row)}")


def _optional(row: RawRow, name: str) -> str:
    value = _find(row, name) if name else None
    if value is _MISSING or _is_null(value) or (isinstance(value, Label) and not value.name):
        return ""
    return _as_text(value, name)


def _find(row: RawRow, name: str) -> Any:
    """The value of a column, or of what a name with dots leads to; None within a null."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None if value is None else _MISSING
    return value


def _as_text(value: Any, name: str) -> str:
    if isinstance(value, Label):
        if not value.name:
            raise SampleError(f"column {name!r} holds the number of no class")
        return value.name
    if isinstance(value, (str, int)):  # True and False are written like this too
        return str(value)
    if _is_whole(value):
        return str(int(value))
    raise SampleError(f"column {name!r} holds {kind_of(value)} and no text")


def _is_whole(value: Any) -> bool:
    """Whether it is a whole number; those with nulls among them often come as floats."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
