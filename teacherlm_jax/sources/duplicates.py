"""Which samples come twice, and which questions of the training data also stand elsewhere.

Questions are compared without regard to case, to runs of white space and to punctuation at both
ends, by a 64-bit hash: among ten million questions, two that differ share one once in 370,000
times. A sample takes 32 bytes here.
"""

import dataclasses
import hashlib
from array import array
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt64

from teacherlm_jax.data.sample import Sample
from teacherlm_jax.sources.raw_rows import RowLocation

SHOWN = 3  # places that are told of each pair of data sets

_ARRAYS = ("_questions", "_samples", "_file", "_line")  # of a `Questions`

_ENDS = " .,;:!?…\"'`´‘’“”„«»‹›()[]{}¿¡。，？！、"


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What one data set has in common with another, or with itself.

    Attributes:
        source: name of the data set.
        other: name of the one that has it too, before it or in another role.
        count: samples of `source` of which this is true.
        places: of the first of them, each with the place in `other`.
    """

    source: str
    other: str
    count: int
    places: tuple[tuple[RowLocation, RowLocation], ...]

    def __str__(self) -> str:
        return ", ".join(f"{here} = {there}" for here, there in self.places)


def normalised(text: str) -> str:
    """A text as it is compared: folded case, single spaces, no punctuation at its ends."""
    plain = " ".join(text.casefold().split())
    return plain.strip(_ENDS) or plain


class Questions:
    """The questions of some data sets, as hashes, with their places."""

    def __init__(self) -> None:
        self._files: list[tuple[str, str]] = []  # names of source and file
        self._numbers: dict[tuple[str, str], int] = {}  # of these, in the list
        self._questions, self._samples = array("Q"), array("Q")
        self._file, self._line = array("Q"), array("Q")

    def add(self, source: str, place: RowLocation, sample: Sample) -> None:
        """Takes note of one sample."""
        question = normalised(sample.question)
        options = sorted(map(normalised, sample.options))
        self._questions.append(_hash(question))
        self._samples.append(_hash("\n".join((question, *options))))
        self._file.append(self._number((source, place.file)))
        self._line.append(place.line)

    def extend(self, other: "Questions") -> None:
        """Takes note of all samples of `other`, after its own."""
        numbers = np.array([self._number(key) for key in other._files], np.uint64)
        self._questions.extend(other._questions)
        self._samples.extend(other._samples)
        self._file.frombytes(numbers[np.array(other._file, np.int64)].tobytes())
        self._line.extend(other._line)

    def save(self, file: BinaryIO) -> None:
        """Writes all of it as arrays, in numpy's format."""
        arrays: dict[str, Any] = {name: np.array(getattr(self, name)) for name in _ARRAYS}
        np.savez(file, names=np.array(self._files, str).reshape(-1, 2), **arrays)

    @classmethod
    def load(cls, file: BinaryIO) -> "Questions":
        """What `save` wrote."""
        made = cls()
        with np.load(file, allow_pickle=False) as arrays:
            for source, name in arrays["names"].tolist():
                made._number((source, name))
            for name in _ARRAYS:
                getattr(made, name).frombytes(arrays[name].astype(np.uint64).tobytes())
        return made

    def twice(self) -> list[Overlap]:
        """The samples whose question, with the same options in any order, was there before."""
        hashes = np.array(self._samples, np.uint64)
        order = np.argsort(hashes, kind="stable")
        starts = np.ones(len(order), bool)
        starts[1:] = hashes[order][1:] != hashes[order][:-1]
        firsts = order[starts][np.cumsum(starts) - 1]
        again = np.flatnonzero(~starts)
        pairs = sorted(zip(order[again].tolist(), firsts[again].tolist(), strict=True))
        return self._grouped(pairs, self)

    def also_in(self, other: "Questions") -> list[Overlap]:
        """The samples whose question, whatever its options, is also one of `other`."""
        there: dict[int, int] = {}
        for number, value in enumerate(other._questions):
            there.setdefault(value, number)
        known: UInt64[np.ndarray, " N"] = np.fromiter(there, np.uint64, len(there))
        found = np.flatnonzero(np.isin(np.array(self._questions, np.uint64), known)).tolist()
        return self._grouped(((here, there[self._questions[here]]) for here in found), other)

    def _grouped(self, pairs: Iterable[tuple[int, int]], other: "Questions") -> list[Overlap]:
        """Pairs of samples, the second of `other`, by the pair of sources that they are in."""
        counts: dict[tuple[str, str], int] = {}
        places: dict[tuple[str, str], list[tuple[RowLocation, RowLocation]]] = {}
        for here, there in pairs:
            key = (self._source(here), other._source(there))
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= SHOWN:
                places.setdefault(key, []).append((self._place(here), other._place(there)))
        return [Overlap(*key, count, tuple(places[key])) for key, count in counts.items()]

    def _number(self, key: tuple[str, str]) -> int:
        """The number of a source's file, a new one where it has none."""
        if key not in self._numbers:
            self._numbers[key] = len(self._files)
            self._files.append(key)
        return self._numbers[key]

    def _source(self, number: int) -> str:
        return self._files[self._file[number]][0]

    def _place(self, number: int) -> RowLocation:
        return RowLocation(self._files[self._file[number]][1], self._line[number])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
