"""Faults of a text that can be seen without understanding it.

Loops, broken characters, letters of another script, and copied text. The limits were chosen so that
explanations by people pass (see docs/reference/sample-format.md).
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_SEQUENCE = 4  # words; sequences of this length are counted in the whole text
_MOST_SEQUENCES = 6  # occurrences of a sequence
_MOST_SENTENCES = 2  # occurrences of a sentence that has at least _SEQUENCE words
_REPEATED_SHARE = 1 / 3  # of the words, in sentences that occurred before
_LONGEST_UNIT = 12  # words or letters of a unit that is repeated without a gap
_MOST_WORDS_IN_A_ROW = 3  # of the same word
_MOST_NUMBERS_IN_A_ROW = 7  # the same number
_MOST_UNITS_IN_A_ROW = 2  # of the same several words
_MOST_LETTERS_IN_A_ROW = 7  # of the same letter or letters, without a space
_SYMBOL_SHARE = 0.6  # of the characters, without white space
_FEWEST_CHARACTERS = 20  # a shorter text may be a formula
_FOREIGN_SHARE = 0.3  # of the letters
_FEWEST_FOREIGN = 3  # letters; a formula may have a few Greek ones
_OWN_SHARE = 0.1  # share of the reference's letters from which on a script is its own
_COPIED_SEQUENCE = 3  # words in a row that count as copied

# Thai to Lao, Burmese, Khmer, kana, Han and Hangul: every character counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\U00020000-\U0003ffff"
)
_ENDS = " .,;:!?\"'()"  # of words that are compared
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_LETTER_LOOP = re.compile(
    rf"([^\W\d_]{{1,{_LONGEST_UNIT}}}?)\1{{{_MOST_LETTERS_IN_A_ROW},}}", re.IGNORECASE
)
_BROKEN = re.compile(  # controls, the replacement character, private use, noncharacters
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd-\uffff\ufdd0-\ufdef\ue000-\uf8ff"
    "\U000f0000-\U0010ffff]"
)
_SCRIPTS = {"CJK": "EAST ASIAN", "HIRAGANA": "EAST ASIAN", "KATAKANA": "EAST ASIAN"}


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    In scripts that are written without spaces, such as Chinese, every character is a word.
    """
    return _WORD.findall(text.casefold())


def repeats_itself(text: str) -> bool:
    """Return whether a text loops.

    One of these is repeated: a sequence of four words more than six times in the whole text; a
    word more than three times in a row, a number more than seven times; several words more than
    twice in a row; a sentence more than twice; sentences that make up a third of the text; letters
    more than seven times in a row without a space. Formulas without words are not counted, because
    they repeat numbers and signs.
    """
    parts = [part.strip(_ENDS) or part for part in text.casefold().split()]
    sequences = Counter(_runs(parts, _SEQUENCE))
    return (
        any(count > _MOST_SEQUENCES and _has_words(run) for run, count in sequences.items())
        or _repeats_unit(parts)
        or _repeats_sentences(text)
        or bool(_LETTER_LOOP.search(text))
    )


def _runs(items: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    return zip(*(items[start:] for start in range(length)), strict=False)


def _has_words(items: Iterable[str], least: int = 2) -> bool:
    """Return whether at least `least` of the items have a letter; all of them do if fewer."""
    lettered = [any(map(str.isalpha, item)) for item in items]
    return sum(lettered) >= min(least, len(lettered))


def _repeats_unit(parts: Sequence[str]) -> bool:
    for length in range(1, min(_LONGEST_UNIT, len(parts) // 2) + 1):
        most = _MOST_WORDS_IN_A_ROW if length == 1 else _MOST_UNITS_IN_A_ROW
        equal = 0  # consecutive parts that equal the one a unit earlier
        for index in range(length, len(parts)):
            equal = equal + 1 if parts[index] == parts[index - length] else 0
            if equal >= length * most and _has_words(parts[index - length + 1 : index + 1]):
                return True
            if length == 1 and equal >= _MOST_NUMBERS_IN_A_ROW and parts[index].isalnum():
                return True
    return False


def _repeats_sentences(text: str) -> bool:
    sentences = Counter(tuple(words(sentence)) for sentence in _SENTENCE_END.split(text))
    total = sum(len(sentence) * count for sentence, count in sentences.items())
    again = {
        sentence: count
        for sentence, count in sentences.items()
        if count > 1 and len(sentence) >= _SEQUENCE and _has_words(sentence)
    }
    repeated = sum(len(sentence) * (count - 1) for sentence, count in again.items())
    return (
        max(again.values(), default=0) > _MOST_SENTENCES or repeated > _REPEATED_SHARE * total > 0
    )


def is_garbled(text: str) -> bool:
    """Return whether a text has characters that no one writes, or hardly anything but symbols.

    The first are control characters, the replacement character U+FFFD, private characters and
    noncharacters. Symbols are all characters but letters, marks, digits and white space; they may
    be 60% of a text of 20 characters or more.
    """
    if _BROKEN.search(text):
        return True
    visible = "".join(text.split())
    symbols = sum(unicodedata.category(character)[0] not in "LMN" for character in visible)
    return len(visible) >= _FEWEST_CHARACTERS and symbols > _SYMBOL_SHARE * len(visible)


def is_foreign(text: str, reference: str) -> bool:
    """Return whether more than 30% of a text's letters are of scripts that its reference lacks.

    Han characters and kana count as one script. A script with less than 10% of the letters of the
    reference, such as that of a quoted word, is not one of its own. Two languages in one script
    cannot be told apart. One or two letters pass, and a reference without letters accepts all.
    """
    own = _letters_by_script(reference)
    least = _OWN_SHARE * own.total()
    accepted = {script for script, count in own.items() if count >= least}
    letters = _letters_by_script(text)
    foreign = sum(count for script, count in letters.items() if script not in accepted)
    enough = foreign >= _FEWEST_FOREIGN and foreign > _FOREIGN_SHARE * letters.total()
    return bool(accepted) and enough


def _letters_by_script(text: str) -> Counter[str]:
    return Counter(filter(None, map(_script, unicodedata.normalize("NFKC", text))))


@functools.lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """Return the first word of a letter's name, such as LATIN; empty if it is not a letter."""
    if unicodedata.category(character) not in ("Lu", "Ll", "Lt", "Lo"):
        return ""
    script = unicodedata.name(character, "UNKNOWN").partition(" ")[0]
    return _SCRIPTS.get(script, script)


def copied_share(text: str, reference: str) -> float:
    """Return the share of a text's words in sequences of three words that its reference has, too.

    A text of one or two words is compared as a whole. The share of a text without words is 0.
    """
    own = words(text)
    length = min(_COPIED_SEQUENCE, len(own))
    if not length:
        return 0.0
    known = set(_runs(words(reference), length))
    copied = [False] * len(own)
    for start, run in enumerate(_runs(own, length)):
        if run in known:
            copied[start : start + length] = [True] * length
    return sum(copied) / len(own)
