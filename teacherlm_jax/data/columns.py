"""Rows of any layout as samples, by a config that says which column holds what."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.sample import KINDS, LETTERS, SampleError, resolve_answer
from teacherlm_jax.errors import UserError

Row = Mapping[str, Any]

_MISSING = object()
_KINDS_OF_VALUES = {dict: "an object", list: "a list", type(None): "null", float: "a fraction"}


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
    """The columns that a source's config names and none of its rows has had so far."""

    def __init__(self, config: SourceConfig):
        self._source = config.name
        self._names = set(wanted(config))
        self._there: dict[str, None] = {}

    def look(self, row: Row) -> None:
        """Takes note of the columns of one more row."""
        if self._names:
            self._names = {name for name in self._names if column_of(name, row) not in row}
            self._there |= dict.fromkeys(row)

    def refuse(self) -> None:
        """Raises UserError that names such columns, if there are any, and those of the rows."""
        if self._names:
            raise UserError(
                f"source {self._source!r}: no row has a column {' or '.join(sorted(self._names))}; "
                f"the columns are {', '.join(self._there)}"
            )


def from_columns(named: ColumnsConfig, row: Row) -> dict[str, Any]:
    """What `from_row` makes a sample of; it is empty where there is no column or a null.

    Raises SampleError that names the column: where there is no question, option or answer, and
    where it holds something else.
    """
    options, labels = _options(row, named.options) if named.options else ([], [])
    question = _required(row, named.question)
    if not isinstance(question, str):
        raise SampleError(f"column {named.question!r} holds {_kind(question)} and no text")
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


def _answer(row: Row, named: ColumnsConfig, options: Sequence[str], labels: Sequence[str]) -> str:
    """Free text, or with options the letter of the right one."""
    value = _required(row, named.answer)
    text = _as_text(value, named.answer)
    if not options:
        return text
    if named.answer_is == "number" or (not named.answer_is and _is_whole(value)):
        return _by_number(text, named, len(options))
    if text in labels:
        return f"({LETTERS[labels.index(text)]})"
    if named.answer_is == "letter":
        return f"({text.strip().strip('().').upper()})"
    if named.answer_is == "text" and options.count(text) == 1:
        return f"({LETTERS[options.index(text)]})"
    return resolve_answer(text, list(options))


def _by_number(text: str, named: ColumnsConfig, count: int) -> str:
    try:
        index = int(text) - named.first
    except ValueError:
        raise SampleError(f"column {named.answer!r} holds no whole number") from None
    if not 0 <= index < count:
        raise SampleError(
            f"column {named.answer!r}: {text} is none of {count} options counted from {named.first}"
        )
    return f"({LETTERS[index]})"


def _options(row: Row, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options and, where they have some of their own, their labels.

    One column holds a list of texts; an object of texts by label; or labels and texts, as a list of
    objects or an object of lists. Several hold an option each. Nulls at the end are no options.
    """
    if len(names) > 1:
        found = [_find(row, name) for name in names]
        return _texts([None if value is _MISSING else value for value in found], names[0]), []
    (name,) = names
    value = _required(row, name)
    labels: Any = []
    if isinstance(value, list) and value and all(map(_is_labelled, value)):
        labels, value = [each["label"] for each in value], [each["text"] for each in value]
    elif _is_labelled(value):
        labels, value = value["label"], value["text"]
    elif isinstance(value, Mapping):
        labels, value = list(value), list(value.values())
    if not isinstance(value, list) or not isinstance(labels, list):
        raise SampleError(f"column {name!r} holds {_kind(value)} and no list of options")
    texts = _texts(value, name)
    return texts, [str(label) for label in labels[: len(texts)]]


def _is_labelled(value: Any) -> bool:
    return isinstance(value, Mapping) and {"label", "text"} <= value.keys()


def _texts(values: Sequence[Any], name: str) -> list[str]:
    end = len(values)
    while end and values[end - 1] in (None, ""):
        end -= 1
    if not end:
        raise SampleError(f"column {name!r} holds no option")
    if len(values[:end]) > len(LETTERS):
        raise SampleError(f"column {name!r} holds {end} options, more than there are letters")
    return [_as_text(value, name) for value in values[:end]]


def _required(row: Row, name: str) -> Any:
    value = _find(row, name)
    if value is _MISSING:
        raise SampleError(f"no column {name!r}; the columns are {', '.join(row)}")
    if _is_null(value):
        raise SampleError(f"column {name!r} is null")
    return value


def _optional(row: Row, name: str) -> str:
    value = _find(row, name) if name else None
    return "" if value is _MISSING or _is_null(value) else _as_text(value, name)


def _find(row: Row, name: str) -> Any:
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
    if isinstance(value, (str, int)):  # True and False are written like this too
        return str(value)
    if _is_whole(value):
        return str(int(value))
    raise SampleError(f"column {name!r} holds {_kind(value)} and no text")


def _is_whole(value: Any) -> bool:
    """Whether it is a whole number; those with nulls among them often come as floats."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _kind(value: Any) -> str:
    return _KINDS_OF_VALUES.get(type(value), type(value).__name__)
