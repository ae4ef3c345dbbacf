"""The option that an answer names: by its letter or number, its label, or its text."""

import re
from collections.abc import Sequence

from teacherlm_jax.config import ColumnsConfig
from teacherlm_jax.data.sample import (
    LETTERS,
    SampleError,
    resolve_answer,
    resolve_text,
    whole_number,
)
from teacherlm_jax.sources.option_marks import MARK

_LETTER = re.compile(r"\(?[A-Z]\)?[.)]?")  # letter of an option


def letter_form(
    text: str, named: ColumnsConfig, options: Sequence[str], labels: Sequence[str]
) -> str:
    """Return the letter form of an answer among options, such as "(B)".

    `labels` are those of the options in the source; empty if it has none. Raises SampleError if the
    answer names no option, or more than one.
    """
    if named.strip_marks and (mark := MARK.match(text)) and mark[1] in labels:
        index = labels.index(mark[1])  # an answer such as "B) blue" repeats its option
        text = mark[1] if text[mark.end() :].strip() == options[index] else text
    if named.answer_is == "text":
        return resolve_text(text, options)
    if named.answer_is == "number":
        return _by_number(text, named, len(options))
    if named.answer_is == "letter":
        if text in labels:
            return f"({LETTERS[labels.index(text)]})"
        return f"({text.strip().strip('().').upper()})"
    if whole_number(text) is not None:
        return _by_number_or_text(text, named, options, labels)
    labelled = text in labels
    letter = f"({LETTERS[labels.index(text)]})" if labelled else resolve_answer(text, options)
    if _equal_to(text, options, labels) - {letter}:
        raise _ambiguous(named)
    return letter


def needs_options(text: str, answer_is: str) -> bool:
    """Return whether an answer has no meaning without options."""
    if answer_is:
        return answer_is != "text"
    return whole_number(text) is not None or bool(_LETTER.fullmatch(text.strip()))


def _by_number_or_text(
    text: str, named: ColumnsConfig, options: Sequence[str], labels: Sequence[str]
) -> str:
    """Return the letter of an answer that is a whole number, in any JSON type.

    The number may be that of an option, a label, or the text of an option. It is refused if these
    differ, and also if it is ambiguous as a number that is counted from 1.
    """
    equal = _equal_to(text, options, labels)
    index = (whole_number(text) or 0) - named.first
    if not equal:
        return _by_number(text, named, len(options))
    if 0 <= index < len(options):
        equal.add(f"({LETTERS[index]})")
    elif named.first == 0 and index == len(options):
        equal.add(f"({LETTERS[index - 1]})")
    if len(equal) > 1:
        raise _ambiguous(named)
    return equal.pop()


def _equal_to(text: str, options: Sequence[str], labels: Sequence[str]) -> set[str]:
    """Return the letters of the options whose label or text equals an answer."""
    number = whole_number(text)
    same = {text} if number is None else {text.strip(), str(number)}
    return {
        f"({LETTERS[index]})"
        for texts in (labels, options)
        for index, other in enumerate(texts)
        if other in same or (number is not None and other.strip() in same)
    }


def _ambiguous(named: ColumnsConfig) -> SampleError:
    return SampleError(
        f"column {named.answer!r} names one option by number or label and another by label or "
        "text; set columns.answer_is to the one that is meant"
    )


def _by_number(text: str, named: ColumnsConfig, count: int) -> str:
    number = whole_number(text)
    if number is None:
        raise SampleError(f"column {named.answer!r} does not contain a whole number")
    if not 0 <= number - named.first < count:
        raise SampleError(
            f"column {named.answer!r} is not one of {count} options counted from {named.first}"
        )
    return f"({LETTERS[number - named.first]})"
