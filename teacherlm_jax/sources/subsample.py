"""A random subset of rows that depends on a seed and their ids, and not on their order."""

import hashlib
import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class SeededSubsample(Generic[T]):
    """The `limit` items of lowest rank among all items.

    The rank is a hash of the seed and the item's id, and nothing else decides which items are
    drawn. A higher limit keeps all items that a lower limit keeps.
    """

    def __init__(self, limit: int, seed: int):
        self._limit = limit
        self._seed = seed
        self._heap: list[
            tuple[int, T]
        ] = []  # with negated ranks, so that the highest rank comes first

    def takes(self, id: str) -> bool:
        """Return whether an item with this id would be among those drawn so far."""
        return len(self._heap) < self._limit or -self._rank(id) > self._heap[0][0]

    def add(self, id: str, item: T) -> None:
        """Add an item and, if there are too many, drop the one of highest rank."""
        heapq.heappush(self._heap, (-self._rank(id), item))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def drawn(self) -> list[T]:
        """Return the items in no particular order."""
        return [item for _, item in self._heap]

    def ranked(self) -> list[T]:
        """Return the items by their rank, which is a random order."""
        return [item for _, item in sorted(self._heap, key=lambda pair: -pair[0])]

    def _rank(self, id: str) -> int:
        digest = hashlib.sha256(f"{self._seed}:{id}".encode()).digest()
        return int.from_bytes(digest, "big")
