"""One labelled example and its explanations: the form that the whole package speaks."""

import dataclasses
import string
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data.labels import Label

KINDS = ("cot", "fundamental", "mistake")  # chain of thought, fundamentals, common mistakes
LETTERS = string.ascii_uppercase

_NAMES_OF_TYPES = {
    dict: "an object",
    list: "a list",
    type(None): "null",
    float: "a fraction",
    Label: "a class label",
}


class SampleError(ValueError):
    """A row that makes no sample; the message is the reason, without file or line.

    Rows are counted by their reasons, so a reason tells what kind of thing a value is, and leaves
    the value itself to the list of refused rows.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A question with its right answer, and explanations by kind and author.

    With options, `answer` is the letter of the right one in brackets, as in "(B)"; without, it is
    free text. `annotations` tell where machine-written explanations come from: by kind, an object
    with the `author` of the text, the verdicts `gates` (name: passed), and whatever else its
    writer noted. Raises SampleError for anything else, so that a Sample in hand is a usable one.
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
        for name in ("id", "question", "answer"):
            _require_text(name, getattr(self, name))
        for name in ("subject", "source"):
            if not isinstance(value := getattr(self, name), str):
                raise SampleError(f"{name} is not text but {kind_of(value)}")
        _check_options(self.options)
        if self.options and _letter_index(self.answer, len(self.options)) is None:
            raise SampleError(f"answer {self.answer!r} is none of {_letters_of(self.options)}")
        _check_explanations(self.explanations)
        _check_annotations(self.annotations)
        for field in dataclasses.fields(self):
            _require_encodable(field.name, getattr(self, field.name))

    @property
    def answer_index(self) -> int:
        """Place of the right option, from 0; raises SampleError when the sample has no options."""
        if not self.options:
            raise SampleError("no options, hence no answer among them")
        return LETTERS.index(self.answer[1])

    def explanation(self, kind: str, author: str) -> str | None:
        """The explanation of that kind by that author; None when there is none or it is blank."""
        text = self.explanations.get(kind, {}).get(author, "")
        return text if text.strip() else None


def to_row(sample: Sample) -> dict[str, Any]:
    """The sample as a JSON object, which `from_row` gives back; annotations only if it has some."""
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
        row["annotations"] = {kind: dict(made) for kind, made in sample.annotations.items()}
    return row


def from_row(row: Mapping[str, Any]) -> Sample:
    """A sample from a JSON object with the keys of `to_row`; those after the answer may be missing.

    The answer of a row with options may be a letter ("B", "(B)") or an option's text (see
    `resolve_answer`). Keys that are no field of a sample are left alone. Raises SampleError.
    """
    for name in ("id", "question", "answer"):
        if name not in row:
            raise SampleError(f"no {name}")
    options = row.get("options", [])
    if not isinstance(options, (list, tuple)):
        raise SampleError(f"options are no list but {kind_of(options)}")
    answer = row["answer"]
    if options:
        _check_options(options)
        _require_text("answer", answer)
        answer = resolve_answer(answer, options)
    return Sample(
        id=row["id"],
        question=row["question"],
        answer=answer,
        options=tuple(options),
        subject=row.get("subject", ""),
        source=row.get("source", ""),
        explanations=row.get("explanations", {}),
        annotations=row.get("annotations", {}),
    )


def resolve_answer(answer: str, options: Sequence[str]) -> str:
    """The letter form of an answer that is given as "B", "(B)" or the text of an option.

    Texts are compared as they stand first, then without regard to case, to runs of white space and
    to one final full stop. Raises SampleError when no option fits, or more than one does.
    """
    answer = answer.strip()
    if answer.startswith("(") and _letter_index(answer, len(options)) is not None:
        return answer
    found = _places_of_text(answer, options)
    letter = _letter_index(f"({answer})", len(options))
    if letter is not None and letter not in found:
        found.append(letter)
    return _only(found)


def resolve_text(answer: str, options: Sequence[str]) -> str:
    """The letter form of an answer that is given by its text, even where that text is a letter.

    Texts are compared, and errors raised, as by `resolve_answer`.
    """
    return _only(_places_of_text(answer.strip(), options))


def _only(places: list[int]) -> str:
    if not places:
        raise SampleError("the answer is no option")
    if len(places) > 1:
        raise SampleError("the answer fits more than one option")
    return f"({LETTERS[places[0]]})"


def _places_of_text(answer: str, options: Sequence[str]) -> list[int]:
    found = [index for index, option in enumerate(options) if option.strip() == answer]
    if not found:
        wanted = _plain(answer)
        found = [index for index, option in enumerate(options) if _plain(option) == wanted]
    return found


def kind_of(value: Any) -> str:
    """What a value is, in a word or two."""
    return _NAMES_OF_TYPES.get(type(value), type(value).__name__)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().removesuffix(".")


def _letter_index(answer: str, count: int) -> int | None:
    """Index of an answer written "(B)" among `count` options; None when it is not one of them."""
    if len(answer) != 3 or answer[0] != "(" or answer[2] != ")":
        return None
    index = LETTERS.find(answer[1])
    return index if 0 <= index < count else None


def _letters_of(options: tuple[str, ...]) -> str:
    return f"(A) to ({LETTERS[len(options) - 1]})"


def _require_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise SampleError(f"{name} is not text but {kind_of(value)}")
    if not value.strip():
        raise SampleError(f"empty {name}")


def _check_options(options: Any) -> None:
    if not options:
        return
    if not 2 <= len(options) <= len(LETTERS):
        raise SampleError(f"{len(options)} options; 2 to {len(LETTERS)} can be told apart")
    for option in options:
        _require_text("option", option)


def _check_explanations(explanations: Any) -> None:
    _require_by_kind("explanations", explanations)
    for kind, texts in explanations.items():
        if not isinstance(texts, Mapping):
            raise SampleError(f"explanations of kind {kind} are not filed by author")
        for author, text in texts.items():
            if not isinstance(text, str):
                raise SampleError(f"{kind} by {author} is not text but {kind_of(text)}")


def _check_annotations(annotations: Any) -> None:
    _require_by_kind("annotations", annotations)
    for kind, made in annotations.items():
        if not isinstance(made, Mapping) or not isinstance(made.get("author"), str):
            raise SampleError(f"the annotation of {kind} names no author")
        gates = made.get("gates")
        if not isinstance(gates, Mapping) or any(
            type(passed) is not bool for passed in gates.values()
        ):
            raise SampleError(f"the annotation of {kind} has no gates that passed or failed")


def _require_by_kind(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise SampleError(f"{name} are no object but {kind_of(value)}")
    for kind in value:
        if kind not in KINDS:
            raise SampleError(f"unknown kind of explanation {kind!r}; known: {', '.join(KINDS)}")


def _require_encodable(name: str, value: Any) -> None:
    """Refuses halves of characters, which JSON can escape but no file or vocabulary can hold."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise SampleError(f"{name}: not UTF-8 encodable, half a character, {half!r}") from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _require_encodable(name, key)
            _require_encodable(name, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _require_encodable(name, item)
