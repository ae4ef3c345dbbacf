"""A sample of rows that does not depend on their order: those whose ids hash lowest."""

import hashlib
import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class SeededSubsample(Generic[T]):
    """The `limit` items of lowest rank among all that were met.

    A rank is a hash of the seed and the item's id. Which items are drawn depends on nothing else,
    and a higher limit keeps all that a lower one keeps.
    """

    def __init__(self, limit: int, seed: int):
        self._limit = limit
        self._seed = seed
        self._heap: list[tuple[int, T]] = []  # ranks below zero: the highest stands first

    def takes(self, id: str) -> bool:
        """Whether an item of that id would be among those drawn so far."""
        return len(self._heap) < self._limit or -self._rank(id) > self._heap[0][0]

    def add(self, id: str, item: T) -> None:
        """Takes an item in and, when there are too many, lets the one of highest rank go."""
        heapq.heappush(self._heap, (-self._rank(id), item))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def drawn(self) -> list[T]:
        """The items, in no particular order."""
        return [item for _, item in self._heap]

    def _rank(self, id: str) -> int:
        digest = hashlib.sha256(f"{self._seed}:{id}".encode()).digest()
        return int.from_bytes(digest, "big")
