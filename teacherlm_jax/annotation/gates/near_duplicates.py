"""Near duplicates among many explanations, found with bounded memory and in any order.

A text is a set of word trigrams, and its sketch is 120 bytes of MinHash values (Broder 1997; the
low bits suffice, Li and König 2010). Two texts are compared if 6 consecutive bytes, one of 20
bands, are equal (locality-sensitive hashing), and they are near duplicates if 80% of all bytes
are, which estimates the Jaccard similarity of their trigrams with a standard error of 0.04.

Only sketches are kept: 128 MB for a million texts with their positions, and about 100 MB more while
they are compared. Of near duplicates the one with the lowest position is kept, so the result
depends neither on the order in which texts arrive nor on texts with higher positions, such as rows
that are added later.
"""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Int, Int64, UInt8, UInt64

from teacherlm_jax.annotation.gates.text_faults import words

_SEQUENCE = 3  # words
_BANDS, _ROWS = 20, 6
SKETCH = _BANDS * _ROWS  # bytes per text
_SIMILARITY = 0.8
_NEIGHBOURS = 32  # texts compared with each text of a band, so that the time is bounded
_CHUNK = 1 << 16  # pairs compared at the same time

_random = np.random.Generator(np.random.PCG64(2310_19019))
_FACTORS: UInt64[np.ndarray, " K"] = _random.integers(0, 2**63, SKETCH, np.uint64) * 2 + 1
_OFFSETS: UInt64[np.ndarray, " K"] = _random.integers(0, 2**63, SKETCH, np.uint64)


def sketch(text: str) -> UInt8[np.ndarray, " K"] | None:
    """Return the sketch of a text; None if it has no words.

    Case and punctuation are ignored. A text of one or two words is one sequence.
    """
    own = words(text)
    if not own:
        return None
    length = min(_SEQUENCE, len(own))
    sequences = {" ".join(own[start : start + length]) for start in range(len(own) - length + 1)}
    hashes = np.fromiter(map(_hash, sequences), np.uint64, len(sequences))
    # Multiply-shift hashing: the high bits decide the minimum, and the lowest of them are kept.
    values = (hashes[:, None] * _FACTORS[None, :] + _OFFSETS[None, :]) >> np.uint64(24)
    return values.min(axis=0).astype(np.uint8)


def _hash(sequence: str) -> int:
    return int.from_bytes(hashlib.blake2b(sequence.encode(), digest_size=8).digest(), "little")


class NearDuplicates:
    """The texts of one kind, of which near duplicates are found once all were added."""

    def __init__(self) -> None:
        self._positions = bytearray()
        self._sketches = bytearray()

    def __len__(self) -> int:
        return len(self._sketches) // SKETCH

    def add(self, position: int, text: str) -> None:
        """Add a text, in any order; one without words has no duplicates.

        Args:
            position: number of the text in the whole dataset, 0 or more, which decides which of
                several near duplicates is kept.
            text: the explanation.
        """
        if (values := sketch(text)) is not None:
            self.add_sketches([position], values[None, :])

    def add_sketches(self, positions: Iterable[int], sketches: UInt8[np.ndarray, "N K"]) -> None:
        """Add texts by their sketches, such as those that another process made."""
        self._positions += np.fromiter(positions, np.int64).tobytes()
        self._sketches += sketches.tobytes()

    def duplicates(self) -> set[int]:
        """Return the positions of all texts that resemble one with a lower position.

        Raises ValueError if two texts have the same position.
        """
        positions = np.frombuffer(self._positions, np.int64)
        order = np.argsort(positions, kind="stable")
        ordered = positions[order]
        if (same := np.flatnonzero(ordered[1:] == ordered[:-1])).size:
            raise ValueError(f"two texts have the position {ordered[same[0]]}")
        sketches = np.frombuffer(self._sketches, np.uint8).reshape(-1, SKETCH)
        return set(positions[_resemble_earlier(sketches, order)].tolist())


def _resemble_earlier(
    sketches: UInt8[np.ndarray, "N K"], order: Int64[np.ndarray, " N"]
) -> Int64[np.ndarray, " D"]:
    """Return the rows of sketches that equal or resemble one that is earlier in an order."""
    digests = sketches.view(np.uint64) @ _FACTORS[: SKETCH // 8]
    first = np.unique(digests[order], return_index=True)[1]
    kept = order[np.sort(first)]  # equal texts need no comparison
    resembles = np.ones(len(sketches), bool)
    resembles[kept] = False
    for band in range(_BANDS):
        columns = sketches[kept, band * _ROWS : (band + 1) * _ROWS]
        for later, earlier in _pairs(_keys(columns)):
            new = ~resembles[kept[later]]
            one, other = kept[later[new]], kept[earlier[new]]
            resembles[one[_similar(sketches, one, other)]] = True
    return np.flatnonzero(resembles)


def _keys(columns: UInt8[np.ndarray, "N R"]) -> UInt64[np.ndarray, " N"]:
    """Return the bytes of each row as one number."""
    padded = np.zeros((len(columns), 8), np.uint8)
    padded[:, : columns.shape[1]] = columns
    return padded.view(np.uint64)[:, 0]


def _pairs(
    keys: UInt64[np.ndarray, " N"],
) -> Iterator[tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]]:
    """Yield pairs of rows with equal keys, the later one and an earlier one.

    A row is paired with the first one of its key and with the _NEIGHBOURS that precede it.
    """
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.ones(len(keys), bool)
    starts[1:] = keys[1:] != keys[:-1]
    rank = np.arange(len(keys)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    later = np.flatnonzero(rank)
    yield order[later], order[later - rank[later]]
    for distance in range(1, _NEIGHBOURS + 1):
        later = later[rank[later] > distance]
        if not later.size:
            return
        yield order[later], order[later - distance]


def _similar(
    sketches: UInt8[np.ndarray, "N K"], one: Int[np.ndarray, " P"], other: Int[np.ndarray, " P"]
) -> Bool[np.ndarray, " P"]:
    """Return whether the sketches of each pair are similar enough."""
    similar = np.zeros(len(one), bool)
    for start in range(0, len(one), _CHUNK):
        part = slice(start, start + _CHUNK)
        equal = sketches[one[part]] == sketches[other[part]]
        similar[part] = equal.mean(axis=1) >= _SIMILARITY
    return similar
