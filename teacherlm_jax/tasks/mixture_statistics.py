"""Statistics of the texts in a mixture's rows, and of those left out, for its manifest."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from teacherlm_jax.data import packing
from teacherlm_jax.tasks.mixtures import MixtureText

NO_LOSS = "no trained token"

_BARS = 32  # of the histogram of lengths


class MixtureStatistics:
    """Fits the texts of a mixture into `longest` tokens, and counts them by task.

    Attributes:
        drops: number of texts left out, by task and reason.
    """

    def __init__(self, author: str, longest: int, too_long: str, begin: int):
        """Start with no texts.

        Args:
            author: author of the explanations in the texts.
            longest: maximum number of tokens in a text.
            too_long: what to do with longer texts, a key of `packing.TOO_LONG`.
            begin: number of special tokens at the start of every text.
        """
        self._author, self._longest, self._too_long, self._begin = author, longest, too_long, begin
        self._tasks: dict[str, dict[str, int]] = {}
        self._longer: Counter[str] = Counter()
        self._fields = _spreads()
        self._fields_of_task: dict[str, dict[str, _Spread]] = {}
        self._lengths: Counter[int] = Counter()
        self.drops: dict[str, dict[str, int]] = {}

    def fitted(self, texts: Iterable[MixtureText]) -> Iterator[packing.Encoded]:
        """Yield the texts for the rows: none too long, and each with a trained token.

        A text without one teaches nothing, since no other text in its row can see it. It can only
        arise from truncation or splitting; each such text or part counts as one drop.
        """
        for text in texts:
            if text.drop:
                self._count_drop(text.task, text.drop)
                continue
            if len(text.encoded.tokens) > self._longest:
                self._longer[text.task] += 1
            parts = packing.fit(text.encoded, self._longest, self._too_long, self._begin)
            if not parts:
                self._count_drop(text.task, f"longer than {self._longest} tokens")
                continue
            with_loss = [part for part in parts if packing.has_trained_token(part)]
            for _ in range(len(parts) - len(with_loss)):
                self._count_drop(text.task, NO_LOSS)
            if with_loss:
                self._count_fields(text)
            yield from self._counted(text.task, with_loss)

    def summary(self, length: int, shards: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the manifest's figures for rows of `length` tokens in `shards`, at least one."""
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

    def _count_fields(self, text: MixtureText) -> None:
        of_task = self._fields_of_task.setdefault(text.task, _spreads())
        for field, size in zip(packing.FIELDS, text.encoded.field_tokens, strict=True):
            if size:
                self._fields[field].add(size)
                of_task[field].add(size)

    def _counted(self, task: str, parts: Iterable[packing.Encoded]) -> Iterator[packing.Encoded]:
        for encoded in parts:
            size = len(encoded.tokens)
            counts = self._tasks.setdefault(task, {"texts": 0, "tokens": 0})
            counts["texts"] += 1
            counts["tokens"] += size
            self._lengths[size] += 1
            yield encoded

    def _by_field(self, fields: Mapping[str, "_Spread"]) -> dict[str, Any]:
        """Return the figures of each field before any truncation; explanations by author."""
        figures = {field: spread.figures() for field, spread in fields.items() if spread.count}
        return {
            field: value if field in ("question", "answer") else {self._author: value}
            for field, value in figures.items()
        }

    def _histogram(self) -> dict[str, list[int]]:
        """Count texts by length: `counts[i]` texts have `edges[i] <= tokens < edges[i + 1]`."""
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

    def figures(self) -> dict[str, float]:
        mean = round(self._sum / self.count, 2)
        return {"count": self.count, "mean": mean, "max": self._max}


def _spreads() -> dict[str, _Spread]:
    return {field: _Spread() for field in packing.FIELDS}


class ThroughputTimer:
    """Measures the time to prepare a mixture, and how much of it is spent waiting for texts."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0

    def waiting_for(self, texts: Iterable[MixtureText]) -> Iterator[MixtureText]:
        """Yield `texts`, and measure the time until each one arrives."""
        asked = time.perf_counter()
        for text in texts:
            self._waited += time.perf_counter() - asked
            yield text
            asked = time.perf_counter()

    def figures(self, tokens: int) -> dict[str, float]:
        """Return the seconds so far, and million tokens per second in total and in both stages.

        The first stage reads and tokenizes texts, the second packs and writes them.
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
