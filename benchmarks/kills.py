"""Real `teacherlm train` processes: killed at a moment of one's choosing, compared when they end.

`python -m benchmarks.kills NOTE train --config=…` is `teacherlm train --config=…`, which writes
what it is at into the file NOTE.
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

from benchmarks.harness import ROOT
from teacherlm_jax.storage import files
from teacherlm_jax.training.chronometer import Chronometer

SAVING = "*.orbax-checkpoint-tmp"  # what Orbax calls a step that is not whole
TIMED = ("seconds", "tokens_per_second", "tokens_per_second_per_chip", "mfu")
_WIDEST = 16  # characters of a note
_LOOK = 0.001  # seconds between two looks at what a process is at


def main(arguments: Sequence[str]) -> int:
    """Runs the command behind the first argument, which names the file of its notes."""
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
    """One start of a run, in a process of its own.

    Attributes:
        run: the run folder.
        steps: of the whole run.
        process: told of in `run`.out.
    """

    run: Path
    steps: int
    process: subprocess.Popen

    @classmethod
    def start(
        cls, run: Path, steps: int, words: Sequence[str], environment: Mapping[str, str]
    ) -> "Training":
        """Starts `teacherlm train` with `words` and this output."""
        run.with_suffix(".note").unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.kills", str(run.with_suffix(".note"))]
        with run.with_suffix(".out").open("w") as out:
            process = subprocess.Popen(
                [*command, "train", *words, f"--config.output={run}"],
                cwd=ROOT, env=dict(environment), stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return cls(run, steps, process)

    @property
    def told(self) -> str:
        """All that the process has printed."""
        return self.run.with_suffix(".out").read_text(encoding="utf-8")

    def phase(self) -> str:
        """What the process is at: start, compile, step, save, validation or end."""
        note = self.run.with_suffix(".note")
        activity = (note.read_text().strip() if note.exists() else "") or "start"
        if activity == "validation":
            return "validation"
        if (self.run / "checkpoints" / str(self.steps)).exists() and activity != "start":
            return "end"
        if activity in ("start", "compile"):  # what lies there then was left by another
            return activity
        saving = activity == "checkpoint" or any((self.run / "checkpoints").glob(SAVING))
        return "save" if saving else "step"

    def kill(self, moment: str | float, number: signal.Signals, delay: float = 0) -> str | None:
        """Sends a signal so many seconds after the start, or so long after it came to a phase.

        Waits for its end, and gives the phase in which the signal found it; None when it had ended
        before. Raises RuntimeError when it ends otherwise than by the signal.
        """
        began = time.monotonic()

        def due() -> bool:
            if isinstance(moment, str):
                return self.phase() == moment
            return time.monotonic() - began >= moment

        while self.process.poll() is None and not due():
            time.sleep(_LOOK)
        time.sleep(delay)
        found = self.phase()
        self.process.send_signal(number)
        status = self.process.wait()
        if status == 0:
            return None
        if status not in (-number, 128 + number):
            raise RuntimeError(
                f"{self.run}: ended with {status}, not by {number.name}:\n{self.told}"
            )
        return self.phase() if number == signal.SIGKILL else found


def outcome(run: Path) -> dict[str, Any]:
    """What two finished runs must agree on bit for bit, by name: all but the times.

    Of the checkpoints, the last and the best: SIGTERM adds one, which is among the newest then.
    """
    result = files.read_json(run / "result.json")
    places = {key: Path(result.pop(key)) for key in ("checkpoint", "best_checkpoint")}
    steps = {key: place.name for key, place in places.items()}
    found: dict[str, Any] = {
        "metrics": [_untimed(row) for _, row in files.read_jsonl(run / "metrics.jsonl")],
        "validation": (run / "validation.jsonl").read_text(encoding="utf-8"),
        "result": _untimed(result) | steps,
    }
    for place in places.values():
        progress = json.loads((place / "meta" / "metadata").read_text())["progress"]
        found[f"{place.name}/progress"] = {
            "last": _untimed(progress["last"]),
            **{key: progress[key] for key in ("step", "tokens", "window")},
        }
        for item in ("params", "optimizer"):
            for name, array in _arrays(place / item):
                bits = (str(array.dtype), array.shape, array.tobytes())
                found[f"{place.name}/{item}{name}"] = bits
    return found


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of what two outcomes do not have in common."""
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if name not in ours or ours[name] != theirs.get(name)]


def _untimed(row: Any) -> dict[str, Any]:
    return {key: row[key] for key in row if key not in TIMED}


def _arrays(item: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of an item of a checkpoint as they lie on disk, by name."""
    handler = ocp.PyTreeCheckpointHandler()
    tree = handler.metadata(item).tree
    whole = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    found = handler.restore(item, args=ocp.args.PyTreeRestore(restore_args=whole))
    for path, array in jax.tree_util.tree_flatten_with_path(found)[0]:
        yield jax.tree_util.keystr(path), array


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
