"""Progress of an annotation: a line every ten seconds, and figures at the end."""

import logging
import time
from typing import Any

_SECONDS_BETWEEN_LINES = 10.0


class AnnotationProgress:
    """Counts explanations and logs the progress of the job every ten seconds.

    Attributes:
        total: explanations of the whole job.
        before: explanations of earlier or other processes.
        written: explanations written by this process.
        tokens: their generated tokens.
    """

    def __init__(self, log: logging.Logger, total: int, before: int):
        self._log = log
        self.total, self.before = total, before
        self._start = self._last = time.monotonic()
        self.written = 0
        self.tokens = 0
        log.info("explanations: %d in total, %d on disk", total, before)

    @property
    def done(self) -> int:
        """Explanations on disk, including those of other processes."""
        return self.before + self.written

    def figures(self, seconds: float) -> dict[str, Any]:
        """Return what this process wrote in `seconds`: texts, seconds and tokens per second."""
        speed = self.tokens / seconds if self.written else 0.0
        return {"texts": self.written, "seconds": seconds, "tokens_per_second": speed}

    def at_least(self, done: int) -> None:
        """Note that so many explanations are on disk, some of them by other processes."""
        self.before = max(self.before, done - self.written)

    def add(self, new_tokens: int) -> None:
        """Count one explanation."""
        self.written += 1
        self.tokens += new_tokens
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES and self.done < self.total:
            return
        self._last = now
        left = (self.total - self.done) * (now - self._start) / self.written
        self._log.info(
            "%d/%d explanations, %.0f tokens/s, %s left",
            self.done,
            self.total,
            self.tokens / (now - self._start),
            f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s",
        )
