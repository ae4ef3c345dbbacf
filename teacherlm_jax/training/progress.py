"""What a run tells while it goes: lines, metrics.jsonl and TensorBoard; and its end at a NaN."""

import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax

from teacherlm_jax import files
from teacherlm_jax.errors import UserError

Scalars = dict[str, float]


class Progress:
    """Collects the metrics of steps without waiting for the device, and reads them now and then.

    Attributes:
        step: the newest step read.
        tokens: tokens trained on so far (padding not counted), in the whole run.
        seconds: time spent in steps so far, in the whole run; compiling and saving not counted.
        last: scalars of the last window that was read.
    """

    def __init__(self, folder: Path, log: logging.Logger, steps: int, earlier: Mapping[str, float]):
        """Writes to `folder`/metrics.jsonl and `folder`/tensorboard.

        `earlier` is what `state()` gave when the run was saved; empty for a new run. What was
        written of steps that came after that is dropped, since they will come again.
        """
        self.step = int(earlier.get("step", 0))
        self.tokens = int(earlier.get("tokens", 0))
        self.seconds = float(earlier.get("seconds", 0.0))
        self.last: Scalars = {key: earlier[key] for key in ("loss", "accuracy") if key in earlier}
        self._log = log
        self._steps = steps
        self._window: list[dict[str, jax.Array]] = []
        self._metrics = folder / "metrics.jsonl"
        self._writer = None
        if jax.process_index() == 0:  # one process writes for all
            _drop_after(self._metrics, int(earlier.get("step", 0)))
            self._writer = _event_writer(folder / "tensorboard", purge_step=self.step + 1)
        self._mark = time.monotonic()

    def restart_clock(self) -> None:
        """Leaves out of the measured time what happened since the last step or read."""
        self._mark = time.monotonic()

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Takes one step's metrics, and lets at most two steps wait on the device."""
        self._window.append(metrics)
        if len(self._window) > 1:
            jax.block_until_ready(self._window[-2])

    def read(self, step: int, learning_rate: float) -> None:
        """Fetches the steps added since the last read, `step` having been the last of them.

        Raises UserError naming the first step whose loss or gradient is not finite.
        """
        if not self._window:
            return
        window = jax.device_get(self._window)
        self._window = []
        now = time.monotonic()
        took, self._mark = now - self._mark, now
        _refuse_not_finite(window, first=step - len(window) + 1)
        total = {key: math.fsum(float(entry[key]) for entry in window) for key in window[0]}
        self.tokens += int(total["tokens"])
        self.seconds += took
        counted = max(total["loss_tokens"], 1.0)
        self.last = {
            "loss": total["loss"] / counted,
            "accuracy": total["correct"] / counted,
            "loss_tokens": total["loss_tokens"] / len(window),
            "grad_norm": total["grad_norm"] / len(window),
            "learning_rate": learning_rate,
            "tokens_per_second": total["tokens"] / took,
        }
        self.step = step
        self._write(step)
        left = (self._steps - step) * took / len(window)
        self._log.info(progress_line(step, self._steps, self.last, left))

    def state(self) -> Scalars:
        """What a checkpoint keeps, so that a resumed run goes on counting."""
        kept: Scalars = {key: self.last[key] for key in ("loss", "accuracy") if key in self.last}
        return {"step": self.step, "tokens": self.tokens, "seconds": self.seconds, **kept}

    def close(self) -> None:
        """Closes the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int) -> None:
        if self._writer is None:
            return
        for key, value in self.last.items():
            self._writer.add_scalar(f"train/{key}", value, step)
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **self.last}) + "\n")


def _drop_after(path: Path, step: int) -> None:
    """Keeps the lines of a metrics file up to `step`."""
    if path.exists():
        rows = (row for _, row in files.read_jsonl(path) if isinstance(row, dict))
        files.write_jsonl(path, [row for row in rows if row.get("step", step + 1) <= step])


def progress_line(step: int, steps: int, scalars: Mapping[str, float], seconds_left: float) -> str:
    """`step 120/900  loss 1.234  acc 0.610  tokens/s 12,345  left 0:42`."""
    return (
        f"step {step}/{steps}  loss {scalars['loss']:.3f}  acc {scalars['accuracy']:.3f}  "
        f"tokens/s {scalars['tokens_per_second']:,.0f}  left {clock(seconds_left)}"
    )


def clock(seconds: float) -> str:
    """`0:42`, `12:05` or `3:00:09`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _refuse_not_finite(window: list[dict[str, float]], first: int) -> None:
    for offset, entry in enumerate(window):
        for key, name in (("loss", "loss"), ("grad_norm", "gradient's norm")):
            if not math.isfinite(entry[key]):
                raise UserError(
                    f"step {first + offset}: the {name} is {float(entry[key])}; the run stops "
                    "here, its earlier checkpoints stay; in another config.output, lower "
                    "config.optimizer.learning_rate or raise config.optimizer.warmup_steps (and "
                    "name a checkpoint of this run as config.init_from to start from it)"
                )


def _event_writer(folder: Path, purge_step: int) -> Any:
    """A TensorBoard writer, imported without torch.

    tensorboardX imports torch wherever it is installed. That takes a second, and training has no
    use for it, so the import is made to find none.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        cast(dict[str, Any], sys.modules)["torch"] = None  # how Python notes that there is none
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hidden:
            del sys.modules["torch"]
    return SummaryWriter(str(folder), purge_step=purge_step)
