"""A run in Weights & Biases, online or in its folder of the run folder."""

import importlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import Interrupted, one_line
from teacherlm_jax.runs import layout, masking
from teacherlm_jax.tracking import wandb_files
from teacherlm_jax.tracking.tracked_run import NEVER, Scalar, TrackedRun
from teacherlm_jax.tracking.tracker import Table

RUN_ID = "WANDB_RUN_ID"
_START_SECONDS, _END_SECONDS = 20.0, 15.0  # for the server's answer, and for the last uploads
_NO_KEY = "there is no API key (run `wandb login`, or set WANDB_API_KEY)"


class WandbTracker:
    """A run of the package wandb.

    A step never goes back: of a resumed run, W&B keeps the steps that it has. If the server cannot
    be used, the run is written offline.
    """

    remote = True

    def __init__(self, run: TrackedRun, step: int, say: Callable[[str], None]):
        """Start the run, or continue the one with the id `run.id`; `say` gets warnings."""
        wandb = self._wandb = importlib.import_module("wandb")
        run.id = run.id or os.environ.get(RUN_ID, "") or secrets.token_hex(5)
        folder = Path(os.environ.get("WANDB_DIR") or run.path)
        self._run = _start(wandb, run, folder, say)
        if self._run.offline:
            written = wandb_files.newest_step(folder, run.id)
            self.last = run.step if written is None else written
            self.where = f"offline; `wandb sync {folder / layout.WANDB}` uploads the run"
        else:
            written = wandb_files.newest_step(folder, run.id, offline=True)
            self.last = max(self._run.starting_step - 1, NEVER if written is None else written)
            self.where = self._run.url or ""

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Add the scalars of a step, all at once."""
        self._run.log(dict(scalars), step=step, commit=True)

    def finish(self, summary: Mapping[str, Scalar], table: Table, step: int) -> None:
        """Add the result to the run's summary, and the table as `results`."""
        self._run.summary.update(dict(summary))
        if table:
            columns = list(table[0])
            rows = [[row.get(column) for column in columns] for row in table]
            self._run.summary["results"] = self._wandb.Table(columns=columns, data=rows)

    def close(self, error: BaseException | None) -> None:
        """End the run, and wait a while for its last uploads."""
        if isinstance(error, Interrupted):
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if error is None else 1)


def _start(wandb: Any, run: TrackedRun, folder: Path, say: Callable[[str], None]) -> Any:
    """Start a run of the package, offline if it cannot be started online."""
    if wandb.setup().settings.mode not in ("online", "run"):  # the user's choice
        return _init(wandb, run, folder)
    try:
        if wandb.login(prompt=False, verify=False):
            return _init(wandb, run, folder)
        problem = _NO_KEY
    except Interrupted:
        raise
    except Exception as error:  # of the network, the key or the names
        problem = one_line(error)
        problem = masking.without(problem, masking.secrets(os.environ))
        if wandb.setup().most_recent_active_run is not None:  # of somebody else in this process
            raise
        wandb.teardown()  # forgets the run that failed, whose id is used again
    say(f"wandb: {problem}; the run is written offline")
    return _init(wandb, run, folder, mode="offline")


def _init(wandb: Any, run: TrackedRun, folder: Path, **mode: str) -> Any:
    settings = wandb.Settings(
        console="off",  # log.txt has it
        init_timeout=_START_SECONDS,
        finish_timeout=_END_SECONDS,
        quiet=True,
        show_info=False,
        symlink=False,
    )
    return wandb.init(
        project=run.project,
        name=run.name,
        group=run.group or None,
        tags=run.tags or None,
        job_type=run.verb,
        config=run.settings,
        dir=folder,
        id=run.id,
        resume="allow",
        allow_val_change=True,
        reinit="create_new",  # does not touch another run of this process
        settings=settings,
        **mode,
    )
