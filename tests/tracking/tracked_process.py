"""A process that tracks a run of steps with the real packages, for `test_services.py`.

`python -m tests.tracking.tracked_process FOLDER FROM TO [kill]` logs the steps after FROM up to TO,
ten at a time, as a training does; it ends with the results, or kills itself.
"""

import json
import os
import signal
import sys
from pathlib import Path

from teacherlm_jax.config import TrackingConfig, TrainConfig
from teacherlm_jax.runs import layout
from teacherlm_jax.storage.growing import append_row
from teacherlm_jax.tracking.tracking import open_tracking
from tests.make_run import make_run

SERVICES = ("tensorboard", "wandb", "trackio")
RESULT = {"loss": 0.25, "checkpoint": "runs/a/checkpoints/40", "benchmarks": {"creak": {"rows": 9}}}
TABLE = [{"benchmark": "creak", "accuracy": 0.5}, {"benchmark": "ecqa", "accuracy": 0.75}]


def loss_at(step: int) -> float:
    return 10 / step


def main(folder: Path, first: int, last: int, kill: bool) -> None:
    names = TrackingConfig(project="tests", group="rates", tags=("one", "two"))
    config = TrainConfig(output=str(folder), track=SERVICES, tracking=names)
    metrics = folder / layout.METRICS
    rows = [json.loads(line) for line in metrics.read_text().splitlines()] if first else []
    rows = [row for row in rows if row["step"] <= first]
    history = [(row["step"], {"train/loss": row["loss"]}) for row in rows]
    history += [(20, {"validation/held_out/loss": loss_at(20)})] if first else []
    run = make_run(folder)
    with open_tracking("train", config, run, step=first, history=history) as tracking:
        for step in range(first + 10, last + 1, 10):
            append_row(metrics, {"step": step, "loss": loss_at(step)})
            tracking.log({"train/loss": loss_at(step)}, step)
            if step % 20 == 0:
                tracking.log({"validation/held_out/loss": loss_at(step)}, step)
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)
        tracking.finish(RESULT, TABLE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "kill" in sys.argv)
