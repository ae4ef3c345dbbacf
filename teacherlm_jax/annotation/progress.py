"""Progress of an annotation: a line every few seconds, and figures at the end."""

import dataclasses
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.annotation.explain import GeneratedExplanation
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.generation.slot_counts import SlotCounts


class AnnotationProgress:
    """Counts explanations and logs the progress of the job.

    Another thread may call `report`.

    Attributes:
        total: explanations of the whole job.
        tokens: generated tokens of the explanations of this process.
        slots: counts of the engines, which they update themselves.
        gates: verdicts on the explanations of this process.
    """

    def __init__(
        self, log: logging.Logger, total: int, kinds: Sequence[str], present: Mapping[str, int]
    ):
        """Begin with the explanations that are on disk, their number by kind."""
        self._log, self._kinds = log, kinds
        self.total, self.tokens = total, 0
        self._before, self._own = Counter(present), Counter[str]()
        self.slots, self.gates = SlotCounts(), GateShares()
        self._start = time.monotonic()
        self._last = _Moment(self._start, 0, SlotCounts())
        self._lock = threading.Lock()
        log.info("explanations: %d in total, %d on disk", total, self.done)

    @property
    def written(self) -> int:
        """Explanations written by this process."""
        return self._own.total()

    @property
    def done(self) -> int:
        """Explanations on disk, including those of other processes."""
        return self._before.total() + self.written

    @property
    def rows(self) -> int:
        """Rows with explanations of all kinds; unfinished ones may be counted a little early."""
        return min((self._before[kind] + self._own[kind] for kind in self._kinds), default=0)

    def figures(self, seconds: float) -> dict[str, Any]:
        """Return texts, seconds and tokens per second of this process after `seconds` of work."""
        speed = self.tokens / seconds if self.written else 0.0
        return {"texts": self.written, "seconds": seconds, "tokens_per_second": speed}

    def correct(self, kind: str, more: int) -> None:
        """Add `more` to the explanations of a kind that were on disk at the start."""
        with self._lock:
            self._before[kind] += more

    def at_least(self, done: Mapping[str, int]) -> None:
        """Raise the counts of explanations on disk to `done`, which includes other processes."""
        with self._lock:
            for kind, count in done.items():
                self._before[kind] = max(self._before[kind], count - self._own[kind])

    def add(self, explanation: GeneratedExplanation) -> None:
        """Count one explanation; log the progress if it was the last one."""
        with self._lock:
            self._own[explanation.kind] += 1
            self.tokens += explanation.new_tokens
            self.gates.add(explanation.gates)
        if self.done >= self.total:
            self.report()

    def add_answers_found(self, found: Sequence[bool | None]) -> None:
        """Count verdicts of the gate `answer_check`, which come when a shard is complete."""
        with self._lock:
            for verdict in found:
                self.gates.add({} if verdict is None else {answer_check.NAME: verdict})

    def report(self) -> None:
        """Log a line about the job, unless nothing was generated since the last line."""
        with self._lock:
            now = _Moment(time.monotonic(), self.tokens, self.slots.copy())
            if now.generated == self._last.generated:
                return
            line = self._line(now)
            self._last = now
        self._log.info("%s", line)

    def _line(self, now: "_Moment") -> str:
        """Return the figures of the job; speed and busy slots are those since the last line."""
        seconds = max(now.time - self._last.time, 1e-9)
        parts = [
            f"{self.rows}/{self.total // len(self._kinds)} rows",
            f"{self.done}/{self.total} explanations",
            f"{(now.generated - self._last.generated) / seconds:.0f} tokens/s",
        ]
        recent = now.slots.since(self._last.slots)
        if recent.slot_steps:
            parts.append(f"{recent.busy:.0%} of slots busy")
        if self.written:
            left = (self.total - self.done) * (now.time - self._start) / self.written
            parts.append(f"{duration(left)} left")
        passed = self.gates.line()
        return ", ".join(parts) + (f"; passed {passed}" if passed else "")


@dataclasses.dataclass(frozen=True)
class _Moment:
    """Counts at one time: tokens of finished texts, and the work of the engines."""

    time: float
    tokens: int
    slots: SlotCounts

    @property
    def generated(self) -> int:
        """Generated tokens, those of unfinished texts included if they are known."""
        return self.slots.tokens or self.tokens


def duration(seconds: float) -> str:
    """Return a time as text: "40 s", "12 min" or "3.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


class GateShares:
    """Shares of texts that pass each gate."""

    def __init__(self) -> None:
        self._passed: Counter[str] = Counter()
        self._judged: Counter[str] = Counter()  # in the order of the gates

    def add(self, verdicts: Mapping[str, bool]) -> None:
        """Count the verdicts on one text; a gate may have none."""
        self._judged.update(verdicts.keys())
        self._passed.update(gate for gate, passed in verdicts.items() if passed)

    def line(self) -> str:
        """Return the share of each gate as text, those that all texts pass together.

        A share is rounded down, so that 100% means all. Empty without gates.
        """
        failed = [gate for gate, count in self._judged.items() if self._passed[gate] < count]
        shares = [f"{gate} {_percent(self._passed[gate], self._judged[gate])}" for gate in failed]
        if len(failed) < len(self._judged):
            shares.append("all other gates 100%" if failed else "all gates 100%")
        return ", ".join(shares)


def _percent(part: int, whole: int) -> str:
    tenths = math.floor(1000 * part / whole)
    return f"{tenths / 10:.1f}%".replace(".0%", "%")
