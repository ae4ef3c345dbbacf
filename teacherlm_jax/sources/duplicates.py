"""Duplicate samples, and training questions that also appear in other data (contamination).

Questions are compared by a 64-bit hash, ignoring case, runs of white space and punctuation at both
ends; contamination also ignores facts and fixed words before a question (see `bare_question`).
Among ten million questions, the probability that two different ones share a hash is 1 in 370,000. A
sample takes 32 bytes of memory until they are compared.
"""

import dataclasses
import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt64

from teacherlm_jax.data.sample import Sample
from teacherlm_jax.sources.adapters import CREAK_ASKS, FACTS_END
from teacherlm_jax.sources.raw_rows import RowLocation

SHOWN = 3  # locations kept for each pair of datasets

_ARRAYS = ("_questions", "_samples", "_file", "_line")  # attributes of `Questions`

_FRAME = re.compile(f".*({re.escape(FACTS_END)}|{re.escape(CREAK_ASKS)})", re.I | re.S)
_ENDS = " .,;:!?…\"'`´‘’“”„«»‹›()[]{}¿¡。，？！、"


@dataclasses.dataclass(frozen=True)
class SharedSample:
    """A sample of one dataset that also is in another one, or earlier in the same.

    Attributes:
        source: name of the dataset.
        here: location in it.
        other: name of the other dataset; it comes earlier or has another role.
        there: location in that.
    """

    source: str
    here: RowLocation
    other: str
    there: RowLocation


Note = Callable[[SharedSample], None]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Samples that one dataset shares with another, or duplicates within itself.

    Attributes:
        source: name of the dataset.
        other: name of the dataset with the same samples; it comes earlier or has another role.
        count: number of shared samples of `source`.
        places: locations of the first of them, each with its location in `other`.
    """

    source: str
    other: str
    count: int
    places: tuple[tuple[RowLocation, RowLocation], ...]

    def __str__(self) -> str:
        return ", ".join(f"{here} = {there}" for here, there in self.places)


def _grouped(shared: Iterable[SharedSample], note: Note) -> list[Overlap]:
    """Count shared samples by their pair of datasets, and keep the first locations of each."""
    counts: dict[tuple[str, str], int] = {}
    places: dict[tuple[str, str], list[tuple[RowLocation, RowLocation]]] = {}
    for one in shared:
        note(one)
        key = (one.source, one.other)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= SHOWN:
            places.setdefault(key, []).append((one.here, one.there))
    return [Overlap(*key, count, tuple(places[key])) for key, count in counts.items()]


def normalised(text: str) -> str:
    """Return a text as it is compared: case-folded, single spaces, no punctuation at its ends."""
    plain = " ".join(text.casefold().split())
    return plain.strip(_ENDS) or plain


def comparable(sample: Sample) -> tuple[str, ...]:
    """Return question and options of a sample, which are equal for duplicates."""
    return normalised(sample.question), *sorted(map(normalised, sample.options))


def words(text: str) -> list[str]:
    """Return the words of a text, each as `normalised` has it, without those of punctuation."""
    return [plain for word in text.casefold().split() if (plain := word.strip(_ENDS))]


def bare_question(question: str) -> str:
    """Return a question without what the prompts of StrategyQA and CREAK put before it.

    Those are facts and a fixed sentence. Training sets have the same questions without them.
    """
    bare = question[frame.end() :] if (frame := _FRAME.match(question)) else question
    return bare.strip() or question


class Questions:
    """The questions of several datasets, as hashes with their locations."""

    def __init__(self) -> None:
        self._files: list[tuple[str, str]] = []  # names of source and file
        self._numbers: dict[tuple[str, str], int] = {}  # index in the list
        self._questions, self._samples = array("Q"), array("Q")
        self._file, self._line = array("Q"), array("Q")

    def add(self, source: str, location: RowLocation, sample: Sample) -> None:
        """Add one sample."""
        self._questions.append(_hash(normalised(bare_question(sample.question))))
        self._samples.append(_hash("\n".join(comparable(sample))))
        self._file.append(self._number((source, location.file)))
        self._line.append(location.line)

    def extend(self, other: "Questions") -> None:
        """Append all samples of `other`."""
        numbers = np.array([self._number(key) for key in other._files], np.uint64)
        self._questions.extend(other._questions)
        self._samples.extend(other._samples)
        self._file.frombytes(numbers[np.array(other._file, np.int64)].tobytes())
        self._line.extend(other._line)

    def save(self, file: BinaryIO) -> None:
        """Write everything as arrays in numpy's `npz` format."""
        arrays: dict[str, Any] = {name: np.array(getattr(self, name)) for name in _ARRAYS}
        np.savez(file, names=np.array(self._files, str).reshape(-1, 2), **arrays)

    @classmethod
    def load(cls, file: BinaryIO) -> "Questions":
        """Read what `save` wrote."""
        questions = cls()
        with np.load(file, allow_pickle=False) as arrays:
            for source, name in arrays["names"].tolist():
                questions._number((source, name))
            for name in _ARRAYS:
                getattr(questions, name).frombytes(arrays[name].astype(np.uint64).tobytes())
        return questions

    def twice(self, note: Note = lambda shared: None) -> list[Overlap]:
        """Return the samples whose question appeared earlier with the same options in any order.

        `note` is called with each of them.
        """
        return _grouped(self._each_twice(), note)

    def also_in(self, other: "Questions", note: Note = lambda shared: None) -> list[Overlap]:
        """Return the samples whose question is also in `other`, whatever its options.

        `note` is called with each of them.
        """
        return _grouped(self._each_also_in(other), note)

    def _each_twice(self) -> Iterator[SharedSample]:
        hashes = np.array(self._samples, np.uint64)
        order = np.argsort(hashes, kind="stable")
        starts = np.ones(len(order), bool)
        starts[1:] = hashes[order][1:] != hashes[order][:-1]
        firsts = order[starts][np.cumsum(starts) - 1]
        again = np.flatnonzero(~starts)
        pairs = sorted(zip(order[again].tolist(), firsts[again].tolist(), strict=True))
        yield from (SharedSample(*self._at(one), *self._at(first)) for one, first in pairs)

    def _each_also_in(self, other: "Questions") -> Iterator[SharedSample]:
        first: dict[int, int] = {}
        for number, value in enumerate(other._questions):
            first.setdefault(value, number)
        hashes: UInt64[np.ndarray, " N"] = np.fromiter(first, np.uint64, len(first))
        shared = np.flatnonzero(np.isin(np.array(self._questions, np.uint64), hashes)).tolist()
        for number in shared:
            yield SharedSample(*self._at(number), *other._at(first[self._questions[number]]))

    def _number(self, key: tuple[str, str]) -> int:
        """Return the number of a source's file, which is added if it is new."""
        if key not in self._numbers:
            self._numbers[key] = len(self._files)
            self._files.append(key)
        return self._numbers[key]

    def _at(self, number: int) -> tuple[str, RowLocation]:
        """Return the source and the location of a sample."""
        source, file = self._files[self._file[number]]
        return source, RowLocation(file, self._line[number])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
