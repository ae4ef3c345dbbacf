"""The training run, told from top to bottom. Every stage of a teacher and every student is this."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from signal import Signals
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from teacherlm_jax import checkpoint, fields, sharding
from teacherlm_jax.checkpoint import Checkpoints
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.errors import Interrupted
from teacherlm_jax.run import Run
from teacherlm_jax.training.interrupt import stop_requests
from teacherlm_jax.training.optimizer import learning_rate
from teacherlm_jax.training.progress import Progress
from teacherlm_jax.training.setup import (
    Plan,
    first_state,
    make_plan,
    open_reader,
    resumable,
)
from teacherlm_jax.training.state import TrainState
from teacherlm_jax.training.step import Batch, Metrics, Step, batch_shapes, compile_step


def train(config: TrainConfig, run: Run) -> dict[str, Any]:
    """Trains as `config` says, saving to `run`, and gives the run's result.

    A run that was interrupted goes on from its newest checkpoint with the rows that come next; one
    that is finished gives its result again. Of the result, `loss` (nats) and `accuracy` are means
    over the loss tokens of the last progress line; `tokens` (padding not counted) and `seconds`
    (compiling and saving not counted) are the whole run's.

    Raises UserError for a config, data or checkpoint that cannot be used and for a loss that is not
    finite, and Interrupted when a signal asked it to stop; the run is saved then.
    """
    # --- What is wrong with the request shows before any work ---
    fields.check(config)

    # --- Devices, rows, and the shapes of everything; nothing is computed yet ---
    mesh = sharding.make_mesh(config.mesh)
    reader = open_reader(config, mesh)
    plan = make_plan(config, mesh)

    with contextlib.ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests())
        stack.enter_context(jax.set_mesh(mesh))
        checkpoints = Checkpoints(run.path, config.checkpoint.keep)
        stack.callback(checkpoints.close)  # waits for what is being written

        # --- This run's newest checkpoint, or another run's parameters, or random ones ---
        state, earlier = first_state(config, plan, checkpoints)
        if jax.process_index() == 0:
            plan.vocabulary.save(run.path / checkpoint.VOCABULARY)
        progress = Progress(run.path, run.log, config.steps, earlier)
        stack.callback(progress.close)

        # --- Updates, up to the last one ---
        if int(state.step) < config.steps:
            step = _compiled(config, run, plan, mesh, reader)
            updates = _updates(step, state, reader, mesh, config)
            _follow(updates, config, plan, checkpoints, progress, stop_requested)
    return {
        **progress.state(),
        "steps": config.steps,
        "tokens_per_second": progress.tokens / progress.seconds,
        "parameters": plan.parameters,
        "checkpoint": str(run.path / checkpoint.CHECKPOINTS / str(config.steps)),
    }


def _compiled(config: TrainConfig, run: Run, plan: Plan, mesh: Mesh, reader: RowReader) -> Step:
    """The step, compiled ahead, with a line about what is about to run."""
    began = time.monotonic()
    batch = batch_shapes(config.batch_size, reader.manifest["length"], mesh)
    step = compile_step(plan.graph, plan.optimizer, plan.abstract, batch, mesh, config.loss_block)
    run.log.info(
        "%s parameters; %s rows of %s tokens, %s a step; mesh %s; compiled in %.1f s",
        f"{plan.parameters:,}",
        f"{reader.rows:,}",
        reader.manifest["length"],
        config.batch_size,
        ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items()),
        time.monotonic() - began,
    )
    return step


def _updates(
    step: Step, state: TrainState, reader: RowReader, mesh: Mesh, config: TrainConfig
) -> Iterator[tuple[int, TrainState, Metrics]]:
    """Number, state and metrics of each update, which uses up the state before it."""
    start = int(state.step)
    batches = reader.iterate(start)
    batch = _placed(next(batches), mesh, config.batch_size)
    for done in range(start + 1, config.steps + 1):
        state, metrics = step(state, batch)
        if done < config.steps:  # rows travel while the devices work
            batch = _placed(next(batches), mesh, config.batch_size)
        yield done, state, metrics


def _placed(rows: Mapping[str, np.ndarray], mesh: Mesh, batch_size: int) -> Batch:
    """This process's rows of a batch as its part of the arrays on the mesh."""
    where = sharding.batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(where, array, (batch_size, array.shape[1]))
        for name, array in rows.items()
    }


def _follow(
    updates: Iterator[tuple[int, TrainState, Metrics]],
    config: TrainConfig,
    plan: Plan,
    checkpoints: Checkpoints,
    progress: Progress,
    stop_requested: Callable[[int], Signals | None],
) -> None:
    """Logs and saves as the updates come; leaves with Interrupted when asked to."""
    every = config.checkpoint.every
    progress.restart_clock()
    for done, state, metrics in updates:
        progress.add(metrics)
        stop = stop_requested(done)
        save = done == config.steps or stop is not None or (every and done % every == 0)
        if save or done % config.log_every == 0:
            # Reading refuses a loss that is not finite, so no such state is ever saved.
            progress.read(done, float(learning_rate(done - 1, config.optimizer, config.steps)))
        if save:
            meta = {**plan.origin, "progress": progress.state()}
            checkpoints.save(done, state.params, resumable(state), meta)
            progress.restart_clock()
        if stop is not None and done < config.steps:
            raise Interrupted(
                f"{stop.name}: saved at step {done} of {config.steps}; the same command goes on",
                status=128 + stop,
            )
