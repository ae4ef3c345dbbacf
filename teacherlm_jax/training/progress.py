"""What a run tells while it goes: lines, metrics.jsonl and TensorBoard; and its end at a NaN."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.growing import append_row
from teacherlm_jax.training.account import Account
from teacherlm_jax.training.step import Metrics
from teacherlm_jax.training.tensorboard import EventWriter

Scalars = dict[str, float]

_NAMED = 8  # rows that a message lists


class Progress:
    """Collects the metrics of steps without waiting for the device, and reads them now and then.

    Attributes:
        step: the newest step fetched.
        tokens: tokens trained on so far (padding not counted), in the whole run.
        last: scalars of the last window that was read.
        durations: seconds of each step of this process, but the first after a pause.
    """

    def __init__(
        self,
        folder: Path,
        log: logging.Logger,
        steps: int,
        earlier: Mapping[str, Any],
        account: Account,
        rows_of: Callable[[int], Sequence[int]],
        rates: Callable[[float], Scalars],
    ):
        """Writes to `folder`/metrics.jsonl and `folder`/tensorboard.

        Args:
            folder: the run folder.
            log: takes a line a window.
            steps: of the whole run.
            earlier: what `state()` gave when the run was saved; empty for a new run. What was
                written of steps that came after that is dropped, since they will come again.
            account: knows the time that steps take; goes on counting where the run was saved.
            rows_of: the numbers of the rows that a step (from 1) reads.
            rates: further scalars for a window, of its tokens a second.
        """
        self.step = int(earlier.get("step", 0))
        self.tokens = int(earlier.get("tokens", 0))
        self.last: Scalars = dict(earlier.get("last", {}))
        self.durations: list[float] = []
        self._log, self._steps, self._account = log, steps, account
        account.add(earlier.get("spent", {}))
        self._rows_of, self._rates = rows_of, rates
        self._fetched: list[Scalars] = list(earlier.get("window", []))
        self._waiting: list[Metrics] = []
        self._metrics = folder / layout.METRICS
        self._writer = None
        if jax.process_index() == 0:  # one process writes for all
            lost = drop_after(self._metrics, self.step)
            account.add({"repeated": sum(row.get("seconds", 0.0) for row in lost)})
            self._writer = EventWriter(folder / layout.TENSORBOARD, purge_step=self.step + 1)
        self._window_began = self.seconds - float(earlier.get("window_seconds", 0.0))
        self._mark: float | None = None

    @property
    def seconds(self) -> float:
        """Time spent in steps so far, in the whole run; compiling and saving not counted."""
        spent = self._account.seconds()
        return spent["steps"] + spent["input"]

    def pause(self) -> None:
        """Says that something else than steps follows, whose time is not the next step's."""
        self._mark = None

    def add(self, metrics: Metrics) -> None:
        """Takes one step's metrics, and lets at most two steps wait on the device."""
        self._waiting.append(metrics)
        if len(self._waiting) > 1:
            jax.block_until_ready(self._waiting[-2])
        now = time.monotonic()
        if self._mark is not None:
            self.durations.append(now - self._mark)
        self._mark = now

    def fetch(self) -> None:
        """Brings what waits on the device here, `step` being the newest of it then.

        Raises UserError naming the first step whose loss or gradient is not finite, and its rows.
        """
        for metrics in jax.device_get(self._waiting):
            self.step += 1
            finite = metrics.pop("finite")
            scalars = {key: float(value) for key, value in metrics.items()}
            self._refuse_not_finite(scalars, finite)
            self.tokens += int(scalars["tokens"])
            self._fetched.append(scalars)
        self._waiting = []

    def read(self, learning_rate: float) -> None:
        """Ends the window of the steps added since the last read, and tells of it.

        Raises UserError as `fetch` does.
        """
        self.fetch()
        window, self._fetched = self._fetched, []
        if not window:
            return
        now = self.seconds
        took, self._window_began = max(now - self._window_began, 1e-9), now
        total = {key: math.fsum(entry[key] for entry in window) for key in window[0]}
        counted = max(total["loss_tokens"], 1.0)
        self.last = {
            "loss": total["loss"] / counted,
            "accuracy": total["correct"] / counted,
            "loss_tokens": total["loss_tokens"] / len(window),
            "grad_norm": total["grad_norm"] / len(window),
            "learning_rate": learning_rate,
            "seconds": took,
            "tokens_per_second": total["tokens"] / took,
            **self._rates(total["tokens"] / took),
        }
        self._write()
        left = (self._steps - self.step) * took / len(window)
        self._log.info(progress_line(self.step, self._steps, self.last, left))

    def note(self, step: int, scalars: Mapping[str, float]) -> None:
        """Shows further scalars of a step in TensorBoard."""
        if self._writer is not None:
            self._writer.add_scalars(scalars, step)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run goes on as if nothing had been.

        Only what was fetched is in it.
        """
        return {
            "step": self.step,
            "tokens": self.tokens,
            "last": self.last,
            "window": self._fetched,
            "window_seconds": self.seconds - self._window_began,
            "spent": self._account.seconds(),
        }

    def close(self) -> None:
        """Closes the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        if self._writer is None:
            return
        self.note(self.step, {f"train/{key}": value for key, value in self.last.items()})
        append_row(self._metrics, {"step": self.step, **self.last})

    def _refuse_not_finite(self, scalars: Scalars, finite: np.ndarray) -> None:
        for key, name in (("loss", "loss"), ("grad_norm", "gradient's norm")):
            if not math.isfinite(scalars[key]):
                rows = [int(number) for number in self._rows_of(self.step)]
                raise UserError(
                    f"step {self.step}: the {name} is {scalars[key]}; {_blamed(rows, finite)}. The "
                    "run stops here, its earlier checkpoints stay; in another config.output, lower "
                    "config.optimizer.learning_rate or raise config.optimizer.warmup_steps (and "
                    "name a checkpoint of this run as config.init_from to start from it)"
                )


def _blamed(rows: Sequence[int], finite: np.ndarray) -> str:
    """Which of a step's rows, by their numbers in the data, are behind a loss that is no number."""
    bad = [row for row, fine in zip(rows, finite, strict=True) if not fine]
    if len(bad) == len(rows):
        return (
            "the model makes no numbers of any of its rows, so the step before spoilt the "
            f"parameters (rows of this one: {_listed(rows)})"
        )
    if bad:
        return f"the model makes no numbers of the rows {_listed(bad)} of config.data"
    return f"the model makes numbers of all its rows, {_listed(rows)} of config.data"


def _listed(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return ", ".join(map(str, rows[:_NAMED])) + more


def drop_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Keeps the lines of a file of metrics up to `step`; gives those of later steps.

    A line that a crash cut goes, too.
    """
    if not path.exists():
        return []
    rows = [row for _, row in files.read_jsonl(path)]
    whole = [row for row in rows if isinstance(row, dict) and "step" in row]
    kept = [row for row in whole if row["step"] <= step]
    if len(kept) < len(rows):
        files.write_jsonl(path, kept)
    return [row for row in whole if row["step"] > step]


def progress_line(step: int, steps: int, scalars: Mapping[str, float], seconds_left: float) -> str:
    """`step 120/900  loss 1.234  acc 0.610  tokens/s 12,345  mfu 0.41  left 0:42`."""
    mfu = f"mfu {scalars['mfu']:.2f}  " if "mfu" in scalars else ""
    return (
        f"step {step}/{steps}  loss {scalars['loss']:.3f}  acc {scalars['accuracy']:.3f}  "
        f"tokens/s {scalars['tokens_per_second']:,.0f}  {mfu}left {clock(seconds_left)}"
    )


def clock(seconds: float) -> str:
    """`0:42`, `12:05` or `3:00:09`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
