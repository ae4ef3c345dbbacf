"""Real `teacherlm train` processes that are killed in a chosen phase, and their outcomes.

`python -m benchmarks.kills NOTE train --config=…` runs `teacherlm train --config=…` and writes its
current activity to the file NOTE.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from benchmarks.harness import ROOT
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.training.chronometer import Chronometer

SAVING = "*.orbax-checkpoint-tmp"  # Orbax's name for an incomplete checkpoint
TIMED = ("seconds", "tokens_per_second", "tokens_per_second_per_chip", "mfu")
_WIDEST = 16  # characters of a note
_POLL_SECONDS = 0.001


def main(arguments: Sequence[str]) -> int:
    """Run the command after the first argument, which is the file for its notes."""
    from teacherlm_jax.cli import main as cli

    note = os.open(arguments[0], os.O_CREAT | os.O_WRONLY)
    begin = Chronometer.begin

    def noted(chrono: Chronometer, activity: str) -> None:
        begin(chrono, activity)
        os.pwrite(note, activity.ljust(_WIDEST).encode(), 0)

    Chronometer.begin = noted
    return cli.main(arguments[1:])


@dataclasses.dataclass(frozen=True)
class Training:
    """One process of a run.

    Attributes:
        run: the run folder or, for a run in a bucket, a path for the notes about it.
        address: the run folder, as the process gets it.
        steps: number of steps of the whole run.
        process: the process; its output is written to `run`.out.
    """

    run: Path
    address: epath.Path
    steps: int
    process: subprocess.Popen

    @classmethod
    def start(
        cls,
        run: Path,
        steps: int,
        words: Sequence[str],
        environment: Mapping[str, str],
        address: epath.PathLike = "",
    ) -> "Training":
        """Start `teacherlm train` with `words` and this run folder, or with one at `address`."""
        address = StoragePath(address or run)
        run.with_suffix(".note").unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.kills", str(run.with_suffix(".note"))]
        with run.with_suffix(".out").open("w") as out:
            process = subprocess.Popen(
                [*command, "train", *words, f"--config.output={address}"],
                cwd=ROOT, env=dict(environment), stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return cls(run, address, steps, process)

    @property
    def output(self) -> str:
        """Return everything that the process has printed."""
        return self.run.with_suffix(".out").read_text(encoding="utf-8")

    def phase(self) -> str:
        """Return the current phase: start, compile, step, save, validation or end."""
        note = self.run.with_suffix(".note")
        activity = (note.read_text().strip() if note.exists() else "") or "start"
        if activity == "validation":
            return "validation"
        if (self.address / "checkpoints" / str(self.steps)).exists() and activity != "start":
            return "end"
        if activity in ("start", "compile"):  # files are leftovers of an earlier process
            return activity
        saving = activity == "checkpoint" or any((self.address / "checkpoints").glob(SAVING))
        return "save" if saving else "step"

    def kill(self, moment: str | float, number: signal.Signals, delay: float = 0) -> str | None:
        """Send a signal, wait for the process to exit, and return the phase that was interrupted.

        The signal is sent `delay` seconds after `moment`, which is a phase or a number of seconds
        since the start. Returns None if the process finished first. Raises RuntimeError if it
        failed for any other reason.
        """
        began = time.monotonic()

        def due() -> bool:
            if isinstance(moment, str):
                return self.phase() == moment
            return time.monotonic() - began >= moment

        while self.process.poll() is None and not due():
            time.sleep(_POLL_SECONDS)
        time.sleep(delay)
        phase = self.phase()
        self.process.send_signal(number)
        status = self.process.wait()
        if status == 0:
            return None
        if status not in (-number, 128 + number):
            raise RuntimeError(
                f"{self.run}: exit status {status}, expected {number.name}:\n{self.output}"
            )
        return self.phase() if number == signal.SIGKILL else phase


def outcome(run: epath.Path) -> dict[str, Any]:
    """Return everything that must be bit-equal between two finished runs, by name; no times.

    Only the last and the best checkpoint are included, because SIGTERM adds further checkpoints.
    """
    result = files.read_json(run / "result.json")
    checkpoints = {key: StoragePath(result.pop(key)) for key in ("checkpoint", "best_checkpoint")}
    steps = {key: checkpoint.name for key, checkpoint in checkpoints.items()}
    values: dict[str, Any] = {
        "metrics": [_untimed(row) for _, row in files.read_jsonl(run / "metrics.jsonl")],
        "validation": (run / "validation.jsonl").read_text(),
        "result": _untimed(result) | steps,
    }
    for checkpoint in checkpoints.values():
        progress = json.loads((checkpoint / "meta" / "metadata").read_text())["progress"]
        values[f"{checkpoint.name}/progress"] = {
            "last": _untimed(progress["last"]),
            **{key: progress[key] for key in ("step", "tokens", "window")},
        }
        for item in ("params", "optimizer"):
            for name, array in _arrays(checkpoint / item):
                bits = (str(array.dtype), array.shape, array.tobytes())
                values[f"{checkpoint.name}/{item}{name}"] = bits
    return values


def differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the names of values in which two outcomes differ."""
    names = sorted(actual.keys() | expected.keys())
    return [name for name in names if name not in actual or actual[name] != expected.get(name)]


def _untimed(row: Any) -> dict[str, Any]:
    return {key: row[key] for key in row if key not in TIMED}


def _arrays(item: epath.Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of an item of a checkpoint, unsharded, by name."""
    handler = ocp.PyTreeCheckpointHandler()
    tree = handler.metadata(item).tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    restored = handler.restore(item, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    for path, array in jax.tree_util.tree_flatten_with_path(restored)[0]:
        yield jax.tree_util.keystr(path), array


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
