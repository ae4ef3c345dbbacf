"""Conversion of rows of any layout to samples; the config names the column of each field."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.labels import Label
from teacherlm_jax.data.sample import KINDS, LETTERS, SampleError, kind_of, whole_number
from teacherlm_jax.sources.option_answers import letter_form, needs_options
from teacherlm_jax.sources.option_marks import without_marks

RawRow = Mapping[str, Any]

_MISSING = object()


class PartialRow(dict[str, Any]):
    """A row of which only some columns were read.

    Attributes:
        columns: names of all columns of its file.
    """

    def __init__(self, values: Mapping[str, Any], columns: Sequence[str]):
        super().__init__(values)
        self.columns = columns


def columns_of(row: RawRow) -> Collection[str]:
    """Return the names of a row's columns, including those that were not read."""
    return row.columns if isinstance(row, PartialRow) else row.keys()


def used_columns(config: SourceConfig) -> tuple[str, ...]:
    """Return the columns that a source's format reads; empty: it may read any."""
    if config.format != "columns":
        return ()
    named = config.columns
    options, explained = named.options, (getattr(named, kind) for kind in KINDS)
    names = (named.question, named.answer, *options, named.subject, named.id, *explained)
    return tuple(dict.fromkeys(name for name in names if name))


def column_of(name: str, columns: Collection[str]) -> str:
    """Return the column that a name, which may be dotted, refers to in a row with `columns`."""
    return name if name in columns else name.partition(".")[0]


def from_columns(named: ColumnsConfig, row: RawRow) -> dict[str, Any]:
    """Return the fields of a sample for `from_row`; missing and null columns give empty fields.

    The row must not contain NaN. Raises SampleError that names the column if the question or the
    answer is missing, if the answer selects an option and there are none, and if a column contains
    a value of the wrong type.
    """
    options, labels = _options(row, named) if named.options else ([], [])
    question = _required(row, named.question)
    if not isinstance(question, str):
        raise SampleError(f"column {named.question!r} contains {kind_of(question)} instead of text")
    return {
        "id": _optional(row, named.id),
        "question": question,
        "options": options,
        "answer": _answer(row, named, options, labels),
        "subject": _optional(row, named.subject),
        "explanations": {
            kind: {named.author: text} for kind in KINDS if (text := _explanation(row, named, kind))
        },
    }


def answer_number(named: ColumnsConfig, row: RawRow) -> int | None:
    """Return the number that a row's answer names an option by; None if it is not a number."""
    if not named.options or named.answer_is not in ("", "number"):
        return None
    value = _find(row, named.answer)
    return None if value is _MISSING else whole_number(value)


def _explanation(row: RawRow, named: ColumnsConfig, kind: str) -> str:
    column = getattr(named, kind)
    text = _optional(row, column)
    if named.answer_after and column == named.answer:
        return text.rpartition(named.answer_after)[0].strip()
    return text


def _answer(
    row: RawRow, named: ColumnsConfig, options: Sequence[str], labels: Sequence[str]
) -> str:
    """Return a free-text answer or, with options, the letter of the right one."""
    value = _required(row, named.answer)
    if isinstance(value, Label):
        meaning = named.answer_is or ("number" if named.options else "text")
        value = int(value) if meaning == "number" else value
    text = _as_text(value, named.answer)
    if named.answer_after:
        _, mark, text = text.rpartition(named.answer_after)
        if not mark:
            raise SampleError(f"column {named.answer!r} does not contain {named.answer_after!r}")
        text = text.strip()
    if options:
        return letter_form(text, named, options, labels)
    if named.options and needs_options(text, named.answer_is):
        raise SampleError(
            f"column {named.answer!r} contains a letter or number, but there are no options; set "
            "columns.answer_is to 'text' if it is the answer itself"
        )
    return text


def _options(row: RawRow, named: ColumnsConfig) -> tuple[list[str], list[str]]:
    """Return the options and their labels, if they have labels of their own.

    One column contains a list of texts; an object of texts by label; or labels and texts, as a list
    of objects or an object of lists. Several columns contain one option each. Nulls at the end are
    left out, and a row without options, or without their columns, asks for free text. A column
    that no row has is noticed by `SourceNotes`.
    """
    names = named.options
    values = [None if (value := _find(row, name)) is _MISSING else value for name in names]
    labels: list[str] = []
    if len(names) > 1:
        texts = _texts(values, names)
    else:
        texts, labels = _listed_options(values[0], names[0])
    if named.strip_marks and texts:
        stripped = without_marks(texts)
        if stripped is None:
            raise SampleError(
                f"column {names[0]!r} contains an option without its mark, such as 'A)'; set "
                "columns.strip_marks to False"
            )
        texts, labels = stripped[0], labels or stripped[1]
    return texts, labels


def _listed_options(value: Any, name: str) -> tuple[list[str], list[str]]:
    """Return the options and labels of one column."""
    labels: Any = []
    if value is None:
        return [], []
    if isinstance(value, list) and value and all(map(_is_labelled, value)):
        labels, value = [option["label"] for option in value], [option["text"] for option in value]
    elif _is_labelled(value):
        labels, value = value["label"], value["text"]
    elif isinstance(value, Mapping):
        labels, value = list(value), list(value.values())
    if not isinstance(value, list) or not isinstance(labels, list):
        raise SampleError(f"column {name!r} contains {kind_of(value)} instead of a list of options")
    texts = _texts(value, [name] * len(value))
    return texts, _labels(labels, len(texts), name)


def _labels(values: Sequence[Any], count: int, name: str) -> list[str]:
    """Return the labels of `count` options; empty if there are none."""
    labels = [_as_text(value, name) for value in values[:count]]
    if labels and len(set(labels)) < count:
        raise SampleError(f"column {name!r} contains {len(set(labels))} labels for {count} options")
    return labels


def _is_labelled(value: Any) -> bool:
    return isinstance(value, Mapping) and {"label", "text"} <= value.keys()


def _texts(values: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Return options as text, without nulls at the end; `names` are their columns."""
    end = len(values)
    while end and values[end - 1] in (None, ""):
        end -= 1
    if end > len(LETTERS):
        raise SampleError(f"column {names[0]!r} contains {end} options; at most 26 are supported")
    texts = []
    for value, name in zip(values[:end], names, strict=False):
        if value == "":
            raise SampleError(f"column {name!r} contains an empty option before another one")
        texts.append(_as_text(value, name))
    return texts


def _required(row: RawRow, name: str) -> Any:
    value = _find(row, name)
    if value is _MISSING:
        raise _no_column(row, name)
    if value is None:
        raise SampleError(f"column {name!r} is null")
    return value


def _no_column(row: RawRow, name: str) -> SampleError:
    return SampleError(f"no column {name!r}; the columns are {', '.join(columns_of(row))}")


def _optional(row: RawRow, name: str) -> str:
    value = _find(row, name) if name else None
    if value is _MISSING or value is None or (isinstance(value, Label) and not value.name):
        return ""
    return _as_text(value, name)


def _find(row: RawRow, name: str) -> Any:
    """Return the value of a column, or the value that a dotted name leads to; None inside null."""
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
            raise SampleError(f"column {name!r} contains a class number without a name")
        return value.name
    if isinstance(value, str | bool):
        return str(value)
    if (number := whole_number(value)) is not None:
        return str(number)
    raise SampleError(f"column {name!r} contains {kind_of(value)} instead of text")
