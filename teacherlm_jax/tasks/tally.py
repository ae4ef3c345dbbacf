"""What went into a mixture's rows and what did not: the figures of its manifest."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from teacherlm_jax.data import packing
from teacherlm_jax.tasks.mixtures import Text

_BARS = 32  # of the histogram of lengths


class Tally:
    """Counts the texts of a mixture on their way into the rows.

    Attributes:
        drops: texts left out, by task and reason.
    """

    def __init__(self, author: str, longest: int, too_long: str, begin: int):
        """Prepares to count.

        Args:
            author: whose explanations the texts have.
            longest: tokens that a text has at most.
            too_long: what becomes of longer ones, a key of `packing.TOO_LONG`.
            begin: the number of ids that begin every text.
        """
        self._author, self._longest, self._too_long, self._begin = author, longest, too_long, begin
        self._tasks: dict[str, dict[str, int]] = {}
        self._longer: Counter[str] = Counter()
        self._fields = _spreads()
        self._fields_of_task: dict[str, dict[str, _Spread]] = {}
        self._lengths: Counter[int] = Counter()
        self.drops: dict[str, dict[str, int]] = {}

    def kept(self, texts: Iterable[Text]) -> Iterator[packing.Encoded]:
        """Yields what goes into rows: the texts that there are, none of them too long."""
        for text in texts:
            if text.drop:
                self._count_drop(text.task, text.drop)
                continue
            if len(text.encoded.tokens) > self._longest:
                self._longer[text.task] += 1
            made = packing.fit(text.encoded, self._longest, self._too_long, self._begin)
            if not made:
                self._count_drop(text.task, f"longer than {self._longest} tokens")
                continue
            of_task = self._fields_of_task.setdefault(text.task, _spreads())
            for field, size in zip(packing.FIELDS, text.encoded.field_tokens, strict=True):
                if size:
                    self._fields[field].add(size)
                    of_task[field].add(size)
            yield from self._counted(text.task, made)

    def summary(self, length: int, shards: list[dict[str, Any]]) -> dict[str, Any]:
        """The manifest's figures, for rows of `length` tokens in `shards`."""
        rows = sum(shard["records"] for shard in shards)
        tokens = sum(counts["tokens"] for counts in self._tasks.values())
        return {
            "rows": rows,
            "texts": sum(counts["texts"] for counts in self._tasks.values()),
            "tokens": tokens,
            "filled": round(tokens / (rows * length), 4),
            "tasks": dict(sorted(self._tasks.items())),
            "drops": dict(sorted(self.drops.items())),
            "too_long": {task: {self._too_long: n} for task, n in sorted(self._longer.items())},
            "statistics": {
                "tokens_by_field": self._by_field(self._fields),
                "tokens_by_task": {
                    task: self._by_field(fields)
                    for task, fields in sorted(self._fields_of_task.items())
                },
                "lengths": self._histogram(),
            },
            "shards": shards,
        }

    def _count_drop(self, task: str, reason: str) -> None:
        reasons = self.drops.setdefault(task, {})
        reasons[reason] = reasons.get(reason, 0) + 1

    def _counted(self, task: str, made: tuple[packing.Encoded, ...]) -> Iterator[packing.Encoded]:
        counts = self._tasks.setdefault(task, {"texts": 0, "tokens": 0})
        for encoded in made:
            size = len(encoded.tokens)
            counts["texts"] += 1
            counts["tokens"] += size
            self._lengths[size] += 1
            yield encoded

    def _by_field(self, fields: Mapping[str, "_Spread"]) -> dict[str, Any]:
        """Of each field, and of explanations by author, as they were before any cut."""
        told = {field: spread.told() for field, spread in fields.items() if spread.count}
        return {
            field: figures if field in ("question", "answer") else {self._author: figures}
            for field, figures in told.items()
        }

    def _histogram(self) -> dict[str, list[int]]:
        """Of the texts in the rows: `counts[i]` have `edges[i] <= tokens < edges[i + 1]`."""
        width = -(-self._longest // _BARS)
        counts = [0] * -(-self._longest // width)
        for size, count in self._lengths.items():
            counts[(size - 1) // width] += count
        return {"edges": [1 + index * width for index in range(len(counts) + 1)], "counts": counts}


class _Spread:
    """Count, mean and maximum of some numbers."""

    def __init__(self) -> None:
        self.count = self._sum = self._max = 0

    def add(self, number: int) -> None:
        self.count += 1
        self._sum += number
        self._max = max(self._max, number)

    def told(self) -> dict[str, float]:
        mean = round(self._sum / self.count, 2)
        return {"count": self.count, "mean": mean, "max": self._max}


def _spreads() -> dict[str, _Spread]:
    return {field: _Spread() for field in packing.FIELDS}


class Clock:
    """How long a mixture takes, and how much of it texts are waited for."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0

    def waiting_for(self, texts: Iterable[Text]) -> Iterator[Text]:
        """Yields `texts` and notes the time until each is there."""
        asked = time.perf_counter()
        for text in texts:
            self._waited += time.perf_counter() - asked
            yield text
            asked = time.perf_counter()

    def told(self, tokens: int) -> dict[str, float]:
        """Seconds until now, and million tokens a second of both halves of the work, and of all.

        Texts are read and tokenised in one half, packed and written in the other.
        """
        seconds = time.perf_counter() - self._start
        spent = {
            "tokenised": self._waited,
            "packed": seconds - self._waited,
            "prepared": seconds,
        }
        rates = {
            f"{name}_mtokens_per_second": round(tokens / part / 1e6, 3)
            for name, part in spent.items()
        }
        return {"seconds": round(seconds, 3), **rates}
