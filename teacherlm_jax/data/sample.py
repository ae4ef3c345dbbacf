"""One labelled example and its explanations, in the form that the whole package uses."""

import dataclasses
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.labels import Label

KINDS = ("cot", "fundamental", "mistake")  # chain of thought, fundamentals, common mistakes
LETTERS = string.ascii_uppercase
# The prompts for MMLU end a question with a full stop, unless it ends with one of these.
SENTENCE_ENDS = (".", ",", "?", "!", '"')

_REQUIRED = ("id", "question", "answer")
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")  # csv files spell columns with nulls as "3.0"

_NAMES_OF_TYPES = {
    dict: "an object",
    list: "a list",
    type(None): "null",
    float: "a fraction",
    Label: "a class label",
}


class SampleError(ValueError):
    """A row that cannot be used as a sample; the message is the reason, without file or line.

    Rows are counted by reason. Values in a reason are quoted or are numbers, so that reasons that
    differ only in values are counted together.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A question with its correct answer, and explanations by kind and author.

    With options, `answer` is the letter of the correct one in brackets, such as "(B)"; without
    options, it is free text. `annotations` describe generated explanations: for each kind, an
    object with the `author` of the text, the verdicts `gates` (name: passed), and other recorded
    values. Raises SampleError for any other content, so every Sample is valid.
    """

    id: str
    question: str
    answer: str
    options: tuple[str, ...] = ()
    subject: str = ""
    source: str = ""
    explanations: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    annotations: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name in _REQUIRED:
            _require_text(name, getattr(self, name))
        for name in ("subject", "source"):
            if not isinstance(value := getattr(self, name), str):
                raise SampleError(f"{name} is {kind_of(value)}, expected text")
        _check_options(self.options)
        if self.options and _letter_index(self.answer, len(self.options)) is None:
            raise SampleError(f"answer {self.answer!r} is not one of {_letters_of(self.options)}")
        _check_explanations(self.explanations)
        _check_annotations(self.annotations)
        for field in dataclasses.fields(self):
            _require_encodable(field.name, getattr(self, field.name))

    @property
    def answer_index(self) -> int:
        """Index of the correct option, from 0; raises SampleError if the sample has no options."""
        if not self.options:
            raise SampleError("the sample has no options")
        return LETTERS.index(self.answer[1])

    def explanation(self, kind: str, author: str) -> str | None:
        """Return the explanation of a kind by an author; None if it is missing or blank."""
        text = self.explanations.get(kind, {}).get(author, "")
        return text if text.strip() else None


def to_row(sample: Sample) -> dict[str, Any]:
    """Return the sample as a JSON object for `from_row`; annotations are omitted if empty."""
    row = {
        "id": sample.id,
        "question": sample.question,
        "answer": sample.answer,
        "options": list(sample.options),
        "subject": sample.subject,
        "source": sample.source,
        "explanations": {kind: dict(texts) for kind, texts in sample.explanations.items()},
    }
    if sample.annotations:
        row["annotations"] = {kind: dict(value) for kind, value in sample.annotations.items()}
    return row


def from_row(row: Mapping[str, Any]) -> Sample:
    """Return the sample of a JSON object with the keys of `to_row`.

    Keys after the answer may be missing or null, and other keys are ignored. The answer of a row
    with options may be a letter ("B", "(B)") or an option's text (see `resolve_answer`). An id that
    is a whole number becomes text. An explanation that is null is missing, and so are the
    annotation of a kind and the verdict of a gate, as in files whose rows all have the same keys.
    Raises SampleError for a row that cannot be used.
    """
    for name in _REQUIRED:
        if name not in row:
            raise SampleError(f"no {name}")
    row = {name: value for name, value in row.items() if value is not None or name in _REQUIRED}
    options, annotations = row.get("options", []), row.get("annotations", {})
    if not isinstance(options, (list, tuple)):
        raise SampleError(f"options are {kind_of(options)}, expected a list")
    answer = row["answer"]
    if options:
        _check_options(options)
        _require_text("answer", answer)
        answer = resolve_answer(answer, options)
    return Sample(
        id=id_text(row["id"]),
        question=row["question"],
        answer=answer,
        options=tuple(options),
        subject=row.get("subject", ""),
        source=row.get("source", ""),
        explanations=_without_nulls(row.get("explanations", {})),
        annotations=_with_verdicts(_without_nulls(annotations, depth=1)),
    )


def resolve_answer(answer: str, options: Sequence[str]) -> str:
    """Return the letter form of an answer that is given as "B", "(B)" or the text of an option.

    Texts are compared exactly. If none is equal, they are compared ignoring case, runs of white
    space and one full stop at the end. Raises SampleError if no option or more than one matches.
    """
    answer = answer.strip()
    if answer.startswith("(") and _letter_index(answer, len(options)) is not None:
        return answer
    indices = _indices_of_text(answer, options)
    letter = _letter_index(f"({answer})", len(options))
    if letter is not None and letter not in indices:
        indices.append(letter)
    return _only(indices)


def resolve_text(answer: str, options: Sequence[str]) -> str:
    """Return the letter form of an answer that is an option's text, even if that is a letter.

    Texts are compared and errors raised as in `resolve_answer`.
    """
    return _only(_indices_of_text(answer.strip(), options))


def _only(indices: list[int]) -> str:
    if not indices:
        raise SampleError("the answer is not one of the options")
    if len(indices) > 1:
        raise SampleError("the answer matches more than one option")
    return f"({LETTERS[indices[0]]})"


def _indices_of_text(answer: str, options: Sequence[str]) -> list[int]:
    exact = [index for index, option in enumerate(options) if option.strip() == answer]
    plain = _plain(answer)
    return exact or [index for index, option in enumerate(options) if _plain(option) == plain]


def kind_of(value: Any) -> str:
    """Return the name of a value's type for messages, such as "a list" or "null"."""
    return _NAMES_OF_TYPES.get(type(value), type(value).__name__)


def whole_number(value: Any) -> int | None:
    """Return the whole number of a value of any JSON type (3, 3.0, "3" or "3.0"), or None.

    Columns of whole numbers with nulls are often stored as floats, and csv files contain only text.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return None


def id_text(value: Any) -> Any:
    """Return an id as text if it is a whole number; any other value unchanged."""
    number = None if isinstance(value, str) else whole_number(value)
    return value if number is None else str(number)


def without_nan(value: Any) -> Any:
    """Return a value of a row with None in place of every NaN, which some files use for null."""
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return value


def _without_nulls(value: Any, depth: int = 2) -> Any:
    """Return a value without the nulls in its objects, of which `depth` are inside each other."""
    if not isinstance(value, Mapping) or depth == 0:
        return value
    return {key: _without_nulls(item, depth - 1) for key, item in value.items() if item is not None}


def _with_verdicts(annotations: Any) -> Any:
    """Return annotations without null verdicts; null in place of all gates is no gate."""
    if not isinstance(annotations, Mapping):
        return annotations
    return {kind: _with_known_verdicts(value) for kind, value in annotations.items()}


def _with_known_verdicts(annotation: Any) -> Any:
    if not isinstance(annotation, Mapping) or "gates" not in annotation:
        return annotation
    gates = annotation["gates"]
    return {**annotation, "gates": {} if gates is None else _without_nulls(gates, depth=1)}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().removesuffix(".")


def _letter_index(answer: str, count: int) -> int | None:
    """Return the index of an answer "(B)" among `count` options; None if it is not among them."""
    if len(answer) != 3 or answer[0] != "(" or answer[2] != ")":
        return None
    index = LETTERS.find(answer[1])
    return index if 0 <= index < count else None


def _letters_of(options: tuple[str, ...]) -> str:
    return f"(A) to ({LETTERS[len(options) - 1]})"


def _require_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise SampleError(f"{name} is {kind_of(value)}, expected text")
    if not value.strip():
        raise SampleError(f"empty {name}")


def _check_options(options: Any) -> None:
    if not options:
        return
    if not 2 <= len(options) <= len(LETTERS):
        raise SampleError(f"{len(options)} options; expected 2 to {len(LETTERS)}")
    for option in options:
        _require_text("option", option)


def _check_explanations(explanations: Any) -> None:
    _require_by_kind("explanations", explanations)
    for kind, texts in explanations.items():
        if not isinstance(texts, Mapping):
            raise SampleError(
                f"explanations of the kind {kind} are {kind_of(texts)}, expected an object of "
                "texts by author"
            )
        for author, text in texts.items():
            if not isinstance(text, str):
                raise SampleError(f"{kind} by {author} is {kind_of(text)}, expected text")


def _check_annotations(annotations: Any) -> None:
    _require_by_kind("annotations", annotations)
    for kind, annotation in annotations.items():
        if not isinstance(annotation, Mapping) or not isinstance(annotation.get("author"), str):
            raise SampleError(f"the annotation of {kind} has no author")
        gates = annotation.get("gates")
        if not isinstance(gates, Mapping) or any(
            type(passed) is not bool for passed in gates.values()
        ):
            raise SampleError(
                f"the annotation of {kind} has no gates, an object with values true or false"
            )


def _require_by_kind(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise SampleError(f"{name} are {kind_of(value)}, expected an object")
    for kind in value:
        if kind not in KINDS:
            raise SampleError(f"unknown kind of explanation {kind!r}; known: {', '.join(KINDS)}")


def _require_encodable(name: str, value: Any) -> None:
    """Raise SampleError for half a surrogate pair, which JSON can escape but not UTF-8 encode."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise SampleError(
                f"{name} contains half a surrogate pair, {half!r}, which UTF-8 cannot encode"
            ) from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _require_encodable(name, key)
            _require_encodable(name, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _require_encodable(name, item)
