"""Evaluation questions whose words occur in training texts (contamination).

A question of 13 words or more occurs in a text if they share 13 consecutive words. A shorter one
occurs if the text contains all its words, between punctuation marks or ends of the text. Case and
the punctuation around words are ignored. The rule of 13 words is that of GPT-3 (Brown et al. 2020,
arXiv 2005.14165, appendix C) and lm-evaluation-harness.

Only the words of the questions are kept in memory, whatever the number of training texts.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

from teacherlm_jax.sources.duplicates import bare_question, words

NGRAM = 13
SHORTEST = 3  # words; a shorter question, such as "Why?", says nothing about its origin

_MOST = 10  # questions that may share words; words of more questions belong to a template
_ANSWER = "a:"  # follows a question in a training text, case-folded

_Words = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SharedWords:
    """An evaluation question that occurs in a training text.

    Attributes:
        question: index of the question.
        whole: whether all its words occur; otherwise 13 of them do.
        text: the shared words.
    """

    question: int
    whole: bool
    text: str


class QuestionWords:
    """The words of the questions of one benchmark, to be looked up in training texts.

    Attributes:
        too_short: indices of questions of fewer than 3 words, which are not compared.
        common: indices of questions without words of their own, which are not compared: each of
            their sequences is in more than 10 questions, or in more than a quarter of a small set.
    """

    def __init__(self, questions: Sequence[str]):
        """Index questions without options; facts before a question do not count."""
        own = [tuple(words(bare_question(question))) for question in questions]
        self.too_short = [index for index, text in enumerate(own) if len(text) < SHORTEST]
        most = min(_MOST, max(2, len(questions) // 4))
        hashes = [dict.fromkeys(map(hash, _sequences(text))) for text in own]  # 64 bits each
        counts = Counter(value for of_question in hashes for value in of_question)
        self._questions: dict[int, list[int]] = {}
        for index, of_question in enumerate(hashes):
            for value in of_question:
                if counts[value] <= most:
                    self._questions.setdefault(value, []).append(index)
        compared = {index for indices in self._questions.values() for index in indices}
        self.common = sorted(set(range(len(own))) - compared - set(self.too_short))
        self._whole = [len(text) <= NGRAM for text in own]
        self._sizes: dict[_Words, set[int]] = {}  # of short questions, by their first words
        for text in (text for text in own if SHORTEST <= len(text) < NGRAM):
            self._sizes.setdefault(text[:SHORTEST], set()).add(len(text))

    def found_in(self, text: "TrainingText") -> Iterator[SharedWords]:
        """Yield the questions that occur in a training text, a question as often as it occurs."""
        for start in range(len(text.words) - SHORTEST + 1):
            for size in self._sizes.get(text.words[start : start + SHORTEST], ()):
                if text.is_delimited(start, start + size):
                    yield from self._found(text.words[start : start + size])
            if start + NGRAM <= len(text.words):
                yield from self._found(text.words[start : start + NGRAM])

    def _found(self, sequence: _Words) -> Iterator[SharedWords]:
        for index in self._questions.get(hash(sequence), ()):
            yield SharedWords(index, self._whole[index], " ".join(sequence))


class TrainingText:
    """The words of one training text, with the punctuation between them."""

    def __init__(self, text: str):
        """Split a text into words as `duplicates.words` does."""
        self._raw = text.casefold().split()
        self.words: _Words = tuple(words(text))
        self._bounds: list[bool] | None = None

    def is_delimited(self, start: int, end: int) -> bool:
        """Return whether punctuation or an end of the text is at both ends of words [start, end).

        The word `A:`, which begins the answer of a training text, also ends a question.
        """
        if end > len(self.words):
            return False
        if self._bounds is None:
            self._bounds = self._find_bounds()
        return self._bounds[start] and self._bounds[end]

    def _find_bounds(self) -> list[bool]:
        """Return, for each place between two words, whether there is punctuation."""
        bounds = [True]
        for raw in self._raw:
            plain = words(raw)
            if not plain:
                bounds[-1] = True
                continue
            at = raw.index(plain[0])
            bounds[-1] = bounds[-1] or at > 0 or raw == _ANSWER
            bounds.append(at + len(plain[0]) < len(raw))
        bounds[-1] = True
        return bounds


def _sequences(text: _Words) -> Iterator[_Words]:
    """Yield the words of a short question, or every sequence of 13 words of a long one."""
    if SHORTEST <= len(text) < NGRAM:
        yield text
    for start in range(len(text) - NGRAM + 1):
        yield text[start : start + NGRAM]
