"""The metrics of a run: progress lines, metrics.jsonl and tracking; a NaN loss ends the run."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.growing import append_row
from teacherlm_jax.tracking.tracker import Row
from teacherlm_jax.training.chronometer import Chronometer, clock
from teacherlm_jax.training.step import Metrics

Scalars = dict[str, float]

_TRAINING, VALIDATION = "train/", "validation/"  # begin the names of scalars
_LISTED = 8  # rows that a message lists
# The remedy for a run that gave NaN; its newest checkpoint may hold the parameters that give it.
TRAIN_AGAIN = (
    "train again in another config.output with a lower config.optimizer.learning_rate or more "
    "config.optimizer.warmup_steps (to start from a checkpoint that this run saved before its loss "
    "rose, set config.init_from to that checkpoint)"
)


class MetricsLog:
    """Metrics of every step, fetched from the devices only when a progress line is due.

    Attributes:
        step: the newest step whose metrics were fetched.
        tokens: tokens trained on so far in the whole run, padding not counted.
        last: scalars of the last window. `loss` and `accuracy` are those of the last window that
            had a trained token, and missing if there was none.
    """

    def __init__(
        self,
        folder: Path,
        log: logging.Logger,
        steps: int,
        earlier: Mapping[str, Any],
        chrono: Chronometer,
        rows_of: Callable[[int], Sequence[int]],
        rates: Callable[[float], Scalars],
        track: Callable[[Mapping[str, float], int], None],
    ):
        """Continue `folder`/metrics.jsonl, or start it.

        Args:
            folder: the run folder.
            log: gets one line per window.
            steps: number of steps of the whole run.
            earlier: the `state()` that the run was saved with; empty for a new run. Rows of later
                steps are dropped from the file, because those steps are repeated.
            chrono: chronometer of the run; it is resumed here.
            rows_of: returns the row numbers that a step (from 1) reads.
            rates: returns further scalars of a window, given its tokens per second.
            track: gets the scalars of every window, and its last step, in the first process.
        """
        self.step = int(earlier.get("step", 0))
        self.tokens = int(earlier.get("tokens", 0))
        self.last: Scalars = dict(earlier.get("last", {}))
        self._log, self._steps, self._chrono = log, steps, chrono
        self._rows_of, self._rates, self._track = rows_of, rates, track
        self._fetched: list[Scalars] = list(earlier.get("window", []))
        self._waiting: list[Metrics] = []
        self._file = folder / layout.METRICS
        lost: list[dict[str, Any]] = []
        if jax.process_index() == 0:  # the first process writes for all
            lost = drop_after(self._file, self.step)
        chrono.resume(earlier, repeated=sum(row.get("seconds", 0.0) for row in lost))

    def add(self, metrics: Metrics) -> None:
        """Add the metrics of a step that was just started; wait until at most two are running."""
        self._waiting.append(metrics)
        if len(self._waiting) > 1:
            jax.block_until_ready(self._waiting[-2])
        self._chrono.end_step()

    def fetch(self) -> None:
        """Fetch the metrics of all steps added so far; `step` is the last of them afterwards.

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

    def write(self, learning_rate: float) -> None:
        """Log the window of the steps added since the last call; do nothing if it is empty.

        Raises UserError as `fetch` does.
        """
        self.fetch()
        window, self._fetched = self._fetched, []
        if not window:
            return
        seconds = max(self._chrono.end_window(), 1e-9)
        scalars = averages(window)
        scalars |= {"learning_rate": learning_rate, "seconds": seconds}
        scalars["tokens_per_second"] = sum(entry["tokens"] for entry in window) / seconds
        scalars |= self._rates(scalars["tokens_per_second"])
        self.last = {**self.last, **scalars}
        if jax.process_index() == 0:
            row = {"step": self.step, **scalars}
            append_row(self._file, row)
            self._track(*tracked(row, _TRAINING))
        left = (self._steps - self.step) * seconds / len(window)
        self._log.info(progress_line(self.step, self._steps, scalars, left))
        if "loss" not in scalars:
            first = self.step - len(window) + 1
            self._log.warning(
                f"steps {first} to {self.step}: the loss mask of their packed rows is empty, so "
                "the model learned nothing from them"
            )

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps, JSON-serializable; fetched metrics only."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "last": self.last,
            "window": self._fetched,
            **self._chrono.state(),
        }

    def _refuse_not_finite(self, scalars: Scalars, finite: Bool[np.ndarray, " B"]) -> None:
        for key, name in (("loss", "loss"), ("grad_norm", "gradient norm")):
            if not math.isfinite(scalars[key]):
                rows = [int(number) for number in self._rows_of(self.step)]
                raise UserError(
                    f"step {self.step}: the {name} is {scalars[key]}: {_cause(rows, finite)}; the "
                    f"run stops and keeps its earlier checkpoints: {TRAIN_AGAIN}"
                )


def tracked(row: Mapping[str, Any], prefix: str) -> tuple[dict[str, float], int]:
    """Return the scalars of a row of a metrics file as services get them, and their step."""
    scalars = {f"{prefix}{key}": value for key, value in row.items() if key != "step"}
    return scalars, row["step"]


def history(folder: Path, step: int) -> list[Row]:
    """Return what services got, or should have got, of a run up to a step, by its metrics files."""
    rows = [
        tracked(row, prefix)
        for name, prefix in ((layout.METRICS, _TRAINING), (layout.VALIDATION, VALIDATION))
        if (folder / name).exists()
        for _, row in files.read_jsonl(folder / name)
        if isinstance(row, dict) and row.get("step", step + 1) <= step
    ]
    return [(row_step, scalars) for scalars, row_step in rows]


def averages(window: Sequence[Scalars]) -> Scalars:
    """Return the scalars of a window of steps, at least one, from the sums of each step.

    `loss` (nats) and `accuracy` are means over the trained tokens, and missing if there are none.
    """
    total = {key: math.fsum(entry[key] for entry in window) for key in window[0]}
    means = {key: total[key] / len(window) for key in ("loss_tokens", "grad_norm")}
    count = total["loss_tokens"]
    if not count:
        return means
    return {"loss": total["loss"] / count, "accuracy": total["correct"] / count, **means}


def _cause(rows: Sequence[int], finite: Bool[np.ndarray, " B"]) -> str:
    """Return the cause of a loss that is NaN or infinite: rows of the step, as in the data."""
    bad = [row for row, is_finite in zip(rows, finite, strict=True) if not is_finite]
    if len(bad) == len(rows):
        return (
            "every row gives NaN, so an earlier step corrupted the parameters (rows of this step: "
            f"{_listed(rows)})"
        )
    if bad:
        return f"the model outputs NaN or infinity for rows {_listed(bad)} of config.data"
    return f"the model output is finite for all rows, {_listed(rows)} of config.data"


def _listed(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    return ", ".join(map(str, rows[:_LISTED])) + more


def drop_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Keep the lines of a metrics file up to `step`; return those of later steps.

    A line that a crash left incomplete is removed, too.
    """
    if not path.exists():
        return []
    rows = [row for _, row in files.read_jsonl(path)]
    complete = [row for row in rows if isinstance(row, dict) and "step" in row]
    kept = [row for row in complete if row["step"] <= step]
    if len(kept) < len(rows):
        files.write_jsonl(path, kept)
    return [row for row in complete if row["step"] > step]


def progress_line(step: int, steps: int, scalars: Mapping[str, float], seconds_left: float) -> str:
    """Return a line such as the following one; `n/a` if there is no trained token.

    `step 12/90  loss 1.234  acc 0.610  grad 0.52  lr 3.0e-04  tokens/s 12,345  mfu 0.41  eta 0:42`
    """
    means = [
        f"{name} {scalars[key]:.3f}" if key in scalars else f"{name} n/a"
        for key, name in (("loss", "loss"), ("accuracy", "acc"))
    ]
    return "  ".join(
        [
            f"step {step}/{steps}",
            *means,
            f"grad {scalars['grad_norm']:.2f}",
            f"lr {scalars['learning_rate']:.1e}",
            f"tokens/s {scalars['tokens_per_second']:,.0f}",
            *([f"mfu {scalars['mfu']:.2f}"] if "mfu" in scalars else []),
            f"eta {clock(seconds_left)}",
        ]
    )
