"""The conclusion of an explanation, compared with the answer that it was given.

Only a stated conclusion is judged, and of several the last one: a last sentence that ends in an
option's letter, as in "It must be (B).", or one such as "Therefore the statement is false." that
ends in one option and, after its last word like "so", names no other; else the last "the answer is
…" (or "#### …", as GSM8K writes it). Negated sentences are not judged.
"""

import re
from collections.abc import Iterator, Sequence

from teacherlm_jax.data.sample import LETTERS, Sample

_STATED = re.compile(
    r"(?:\b(?:answer|choice|option)\s+(?:is|must be|should be|would be|will be)\b"
    r"|\banswer\s*[:=]|####)[\s:]*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_INFERENCE = re.compile(  # at the start of a sentence, or of a clause in it
    r"(?:^|[,;]\s*(?:and\s+)?)\s*(?:so|therefore|thus|hence|consequently|accordingly|overall|"
    r"in conclusion|finally)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|never|cannot|neither|nor|isn't|wrong)\b|n't\b", re.IGNORECASE)
_LETTER = re.compile(r"\(([A-Z])\)|^\W*([A-Z])(?=\W*$|[).:,])")
_LAST_LETTER = re.compile(r"\(([A-Z])\)\W*$")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_WORD = re.compile(r"[^\W_]+")
_LONGEST_ANSWER = 5  # words; a longer answer can be said in other words


def contradicts(sample: Sample, text: str) -> bool:
    """Return whether an explanation states a conclusion other than the sample's answer."""
    last = _SENTENCE_END.split(text.strip())[-1]
    if not _STATED.search(last) and (verdict := _judge_last(sample, last)) is not None:
        return verdict
    if stated := list(_STATED.finditer(text)):
        conclusion = _SENTENCE_END.split(text[stated[-1].end() :])[0]
        return not _NEGATION.match(conclusion) and _differs(sample, conclusion)
    return False


def _judge_last(sample: Sample, sentence: str) -> bool | None:
    """Return whether a last sentence concludes another option; None if it concludes nothing."""
    if not sample.options or _NEGATION.search(sentence):
        return None
    if letter := _LAST_LETTER.search(sentence):
        return _is_other_letter(sample, letter[1])
    inferences = list(_INFERENCE.finditer(sentence))
    ends = any(_plain(sentence).endswith(_plain(option)) for option in sample.options)
    if not ends or not inferences:
        return None
    return _names_other_option(sample, sentence[inferences[-1].end() :])


def _differs(sample: Sample, conclusion: str) -> bool:
    """Return whether the words after "the answer is" name another answer than the sample's."""
    if not sample.options:
        return _is_other_text(sample.answer, conclusion)
    for letter in _LETTER.findall(conclusion):
        if (found := "".join(letter)) in LETTERS[: len(sample.options)]:
            return _is_other_letter(sample, found)
    return _names_other_option(sample, conclusion)


def _is_other_letter(sample: Sample, letter: str) -> bool:
    return letter in LETTERS[: len(sample.options)] and letter != sample.answer[1]


def _names_other_option(sample: Sample, sentence: str) -> bool:
    """Return whether a sentence names exactly one option, and not the right one."""
    named = set(_options_in(sentence, sample.options))
    return len(named) == 1 and sample.answer_index not in named


def _options_in(sentence: str, options: Sequence[str]) -> Iterator[int]:
    """Yield the index of each option in a sentence; "bank account" does not also name "bank"."""
    left = _plain(sentence)
    for index in sorted(range(len(options)), key=lambda index: -len(options[index])):
        option = _plain(options[index])
        if option.strip() and option in left:
            left = left.replace(option, " | ")
            yield index


def _is_other_text(answer: str, conclusion: str) -> bool:
    """Compare a free answer with a conclusion: numbers by value, short texts by their words."""
    wanted = _NUMBER.findall(answer)
    if len(wanted) == 1 and len(answer.split()) <= _LONGEST_ANSWER:
        found = _NUMBER.findall(conclusion)
        return bool(found) and _value(wanted[0]) not in map(_value, found)
    if wanted or len(answer.split()) > _LONGEST_ANSWER or not _plain(conclusion).strip():
        return False
    return _plain(answer) not in _plain(conclusion) and _plain(conclusion) not in _plain(answer)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _plain(text: str) -> str:
    """Return the words of a text in lower case, with a space around each."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
