"""The training run, told from top to bottom. Every stage of a teacher and every student is this."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from signal import Signals
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import TrainConfig, fields
from teacherlm_jax.data import prepared
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.errors import Interrupted
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files
from teacherlm_jax.training import run_summary
from teacherlm_jax.training.account import Account
from teacherlm_jax.training.interrupt import StopRequests, stop_requests
from teacherlm_jax.training.optimizer import learning_rate
from teacherlm_jax.training.profiling import Profiler
from teacherlm_jax.training.progress import Progress
from teacherlm_jax.training.setup import (
    Plan,
    compile_for,
    first_state,
    make_plan,
    open_reader,
    resumable,
)
from teacherlm_jax.training.speed import Speed
from teacherlm_jax.training.state import TrainState
from teacherlm_jax.training.step import Batch, Metrics, Step
from teacherlm_jax.training.validation import Stopped, Validation


@dataclasses.dataclass(frozen=True)
class _Work:
    """A run under way: what was asked for, and everything that it is done with."""

    config: TrainConfig
    run: Run
    mesh: Mesh
    data: Prepared
    reader: RowReader
    plan: Plan
    speed: Speed
    account: Account
    checkpoints: Checkpoints
    validation: Validation
    progress: Progress
    profiler: Profiler
    stop_requested: StopRequests


def train(config: TrainConfig, run: Run) -> dict[str, Any]:
    """Trains as `config` says, saving to `run`, and gives the run's result.

    A run that was interrupted goes on from its newest checkpoint with the rows that come next; one
    that is finished gives its result again. Of the result, `loss` (nats) and `accuracy` are means
    over the loss tokens of the last progress line; `tokens` (padding not counted) and `seconds`
    (compiling, measuring and saving not counted) are the whole run's. `summary.json` tells more.

    Raises UserError for a config, data or checkpoint that cannot be used and for a loss that is not
    finite, and Interrupted when a signal asked it to stop; the run is saved then.
    """
    # --- What is wrong with the request shows before any work ---
    account = Account()
    fields.check(config)
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", config.compilation_cache)

    with contextlib.ExitStack() as stack:
        # --- Everything that the run is done with, and the state that it goes on from ---
        stop_requested = stack.enter_context(stop_requests())
        with stop_requested.acted_on():
            work, state = _begin(config, run, account, stop_requested, stack)

        # --- Updates, up to the last one, or until there is nothing to gain ---
        _follow(work, state)
        account.turn_to("checkpoint")
        work.checkpoints.finish()
    told = run_summary.summary(work.progress, account, work.speed)
    if jax.process_index() == 0:
        files.write_json(run.path / layout.SUMMARY, told)
    run.log.info(run_summary.line(told))
    return _result(work)


def _begin(
    config: TrainConfig,
    run: Run,
    account: Account,
    stop_requested: StopRequests,
    stack: contextlib.ExitStack,
) -> tuple[_Work, TrainState]:
    """The run's work and first state; `stack` closes what it opens."""
    # --- Devices, rows, and the shapes of everything; nothing is computed yet ---
    mesh = sharding.make_mesh(config.mesh)
    data = prepared.open(config.data)
    reader = open_reader(config, data, mesh)
    plan = make_plan(config, data, mesh)
    speed = Speed.of(plan.model, data.length, mesh)
    stack.enter_context(jax.set_mesh(mesh))
    validation = Validation(config, run, plan, mesh)
    saving = config.checkpoint
    checkpoints = Checkpoints(run.path, saving.keep, saving.best, validation.ranking)
    stack.callback(checkpoints.close)  # waits for what is being written

    # --- This run's newest checkpoint, or another model's parameters, or random ones ---
    state, earlier = first_state(config, plan, checkpoints)
    validation.go_on_from(int(state.step))
    if jax.process_index() == 0:
        plan.vocabulary.save(run.path / layout.VOCABULARY)
    order = sharding.fed_order(mesh, config.batch_size)
    progress = Progress(
        run.path, run.log, config.steps, earlier, account,
        rows_of=functools.partial(_rows_of, reader, order), rates=speed.rates,
    )  # fmt: skip
    stack.callback(progress.close)
    profiler = stack.enter_context(contextlib.closing(Profiler(config.profile, run)))
    work = _Work(
        config, run, mesh, data, reader, plan, speed, account, checkpoints, validation, progress,
        profiler, stop_requested,
    )  # fmt: skip
    return work, state


def _rows_of(reader: RowReader, order: Sequence[int], step: int) -> list[int]:
    """Where on disk the rows of a step (from 1) stand, in the order of the batch on the mesh."""
    numbers = reader.numbers(step - 1)
    return [numbers[place] for place in order]


def _result(work: _Work) -> dict[str, Any]:
    progress, step = work.progress, work.progress.step
    ranked = [each for each in work.validation.ranking() if each in work.checkpoints.steps()]
    return {
        **{key: progress.last[key] for key in ("loss", "accuracy")},
        "step": step,
        "steps": work.config.steps,
        "stopped_early": step < work.config.steps,
        "tokens": progress.tokens,
        "seconds": progress.seconds,
        "tokens_per_second": progress.tokens / progress.seconds,
        "parameters": work.plan.parameters,
        "checkpoint": str(work.checkpoints.path(step)),
        **_best(work, ranked[:1]),
    }


def _best(work: _Work, steps: Sequence[int]) -> dict[str, Any]:
    """The best checkpoint, if there is one, and what it was chosen by."""
    return {
        key: value
        for step in steps
        for key, value in (
            ("best_checkpoint", str(work.checkpoints.path(step))),
            ("best_metric", work.validation.value(step)),
        )
    }


def _follow(work: _Work, first: TrainState) -> None:
    """Measures, logs and saves as the updates come; leaves with Interrupted when asked to."""
    config, progress, steps = work.config, work.progress, work.config.steps
    every = config.checkpoint.every
    start = int(first.step)
    stop = _measured(work, start, first)  # of a run that was interrupted before it did
    if stop is not None:
        raise _interrupted(stop, start, steps)
    if start == steps or work.validation.exhausted():
        return
    for done, state, metrics in _updates(work, first):
        progress.add(metrics)
        work.checkpoints.check()
        work.profiler.after(done, metrics["loss"])
        due = work.validation.due(done)
        stop = work.stop_requested(done)
        save = done == steps or (every and done % every == 0) or (due and config.checkpoint.best)
        if done % config.log_every == 0 or done == steps:
            progress.read(float(learning_rate(done - 1, config.optimizer, steps)))
        elif save or due or stop:
            progress.fetch()  # which refuses a loss that is not finite: no such state is saved
        if due and stop is None:
            stop = _measured(work, done, state)
        exhausted = work.validation.exhausted()
        if exhausted:
            progress.read(float(learning_rate(done - 1, config.optimizer, steps)))
        if save or stop or exhausted:
            _save(work, done, state)
        if stop is not None and (done < steps or work.validation.due(done)):
            raise _interrupted(stop, done, steps)
        if exhausted and done < steps:
            work.run.log.info(
                f"stopped early at step {done}: {config.validation.metric} has not improved in "
                f"{config.validation.patience} measurements"
            )
            return


def _interrupted(stop: Signals, done: int, steps: int) -> Interrupted:
    return Interrupted(
        f"{stop.name}: saved at step {done} of {steps}; the same command goes on",
        status=128 + stop,
    )


def _measured(work: _Work, step: int, state: TrainState) -> Signals | None:
    """Measures the model of a step if that is due; gives the signal that came meanwhile."""
    if not work.validation.due(step):
        return None
    alone = jax.process_count() == 1  # several would have to agree on the moment

    def stopped() -> bool:
        return alone and work.stop_requested(step) is not None

    work.progress.pause()
    with work.account.on("validation"):
        try:
            found = work.validation.measure(step, state.params, stopped)
        except Stopped:
            return work.stop_requested(step)
    work.progress.note(step, {f"validation/{name}": value for name, value in found.items()})
    return None


def _save(work: _Work, step: int, state: TrainState) -> None:
    work.progress.pause()
    work.account.turn_to("checkpoint")
    meta = {**work.plan.origin, "progress": work.progress.state()}
    work.checkpoints.save(step, state.params, resumable(state), meta)


def _updates(work: _Work, state: TrainState) -> Iterator[tuple[int, TrainState, Metrics]]:
    """Number, state and metrics of each update, which uses up the state before it."""
    account, start, steps = work.account, int(state.step), work.config.steps
    with work.stop_requested.acted_on(), account.on("compile"):
        step = _compiled(work)
    batches = work.reader.iterate(start)
    with account.on("input"):
        batch = _placed(next(batches), work)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for done in range(start + 1, steps + 1):
            account.turn_to("steps")
            work.profiler.before(done)
            state, metrics = step(state, batch)
            if done < steps:  # rows travel while the devices work
                asked, ended = time.monotonic(), pool.submit(_ended, metrics)
                batch = _placed(next(batches), work)
                if ended.done():  # and the devices had nothing to do until the rows were here
                    idle = time.monotonic() - max(asked, ended.result())
                    account.move(idle, "steps", "input")
            yield done, state, metrics


def _ended(metrics: Metrics) -> float:
    """Waits until a step has ended, and says when that was."""
    jax.block_until_ready(metrics)
    return time.monotonic()


def _compiled(work: _Work) -> Step:
    """The step, compiled ahead, with a line about what is about to run."""
    began = time.monotonic()
    config, plan, length = work.config, work.plan, work.data.length
    step = compile_for(config, plan, work.mesh, length)
    work.run.log.info(
        "%s parameters; %s rows of %s tokens, %s a step; mesh %s; compiled in %.1f s",
        f"{plan.parameters:,}",
        f"{work.reader.rows:,}",
        length,
        config.batch_size,
        ", ".join(f"{axis}={size}" for axis, size in work.mesh.shape.items()),
        time.monotonic() - began,
    )
    return step


def _placed(rows: Mapping[str, np.ndarray], work: _Work) -> Batch:
    """This process's rows of a batch as its part of the arrays on the mesh."""
    where, size = sharding.batch_sharding(work.mesh), work.config.batch_size
    return {
        name: jax.make_array_from_process_local_data(where, array, (size, array.shape[1]))
        for name, array in rows.items()
    }
