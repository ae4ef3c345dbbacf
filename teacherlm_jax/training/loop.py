"""The training loop: one program for every stage of a teacher and for students."""

import contextlib
from collections.abc import Iterator
from signal import Signals
from typing import Any, NamedTuple

import jax

from teacherlm_jax import sharding
from teacherlm_jax.config import TrainConfig, fields
from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.tracking import tracking as tracks
from teacherlm_jax.training import metrics_log, results, setup
from teacherlm_jax.training.chronometer import Chronometer
from teacherlm_jax.training.interrupt import interruption, stop_requests
from teacherlm_jax.training.opened_training import Training, open_training
from teacherlm_jax.training.optimizer import learning_rate_at
from teacherlm_jax.training.setup import RunSpec
from teacherlm_jax.training.state import TrainState
from teacherlm_jax.training.step import DeviceBatch, UpdateFn
from teacherlm_jax.training.validation import ValidationStopped
from teacherlm_jax.wording import counted


def train(config: TrainConfig, run: Run) -> dict[str, Any]:
    """Train as `config` says, save to `run`, and return the run's result (see `results.result`).

    An interrupted run resumes from its newest checkpoint with the rows that come next; a finished
    one returns its result again. Speed and time by activity are written to `summary.json`.

    Raises UserError for a config, data or checkpoint that cannot be used and for a loss that is not
    finite; Interrupted after a signal, with the run saved.
    """
    fields.check(config)
    tracks.require(config.track)
    with contextlib.ExitStack() as tracked:
        training = _train(config, run, tracked)
        result = _finish(training)
        training.tracking.finish(result)
    return result


def _train(config: TrainConfig, run: Run, tracked: contextlib.ExitStack) -> Training:
    """Train to the end; `tracked` closes the tracking, which gets the result before."""
    chrono = Chronometer()
    with contextlib.ExitStack() as stack:
        stack.callback(chrono.close)
        signals = stack.enter_context(stop_requests())
        with signals.immediate():  # there is nothing to save yet
            training, state = open_training(config, run, chrono, signals, stack, tracked)
        signal = _validate(training, int(state.step), state)  # if the run was interrupted before it
        if signal:
            raise interruption(signal, int(state.step), config.steps)
        if state.step < config.steps and not training.validation.exhausted():
            _loop(training, state)
        else:  # of a run that was stopped during its last validation
            training.metrics.write(
                learning_rate_at(int(state.step), config.optimizer, config.steps)
            )
        chrono.begin("checkpoint")
        training.checkpoints.finish()
    return training


def _loop(training: Training, state: TrainState) -> None:
    """Train from `state` to the last step, or until the validation metric stops improving."""
    config, chrono, metrics = training.config, training.chrono, training.metrics
    validation, profiler = training.validation, training.profiler
    first = int(state.step)
    update, batches = _compile(training), _batches(training, first)
    with chrono.pause("input"):
        batch = next(batches)
    for step in range(first + 1, config.steps + 1):
        # --- Update; the next batch is fetched while the devices compute ---
        chrono.begin("steps")
        with profiler.step(step):
            state, step_metrics = update(state, batch)
        if step < config.steps:
            with chrono.fetching(step_metrics):
                batch = next(batches)
        metrics.add(step_metrics)
        training.checkpoints.check()
        profiler.end_trace(step, step_metrics)

        # --- Log and validate ---
        signal, due = training.signals(step), _due(training, step)
        _log(training, step, due, ending=signal is not None)
        if due.validation and not signal:
            with _saving_on_failure(training, step, state):
                signal = _validate(training, step, state)
        if exhausted := validation.exhausted():
            metrics.write(learning_rate_at(step, config.optimizer, config.steps))

        # --- Save; stop on a signal or when validation no longer improves ---
        if signal or due.checkpoint or exhausted:
            _save(training, step, state)
        if signal and (step < config.steps or validation.due(step)):
            raise interruption(signal, step, config.steps)
        if exhausted:
            return


def _log(training: Training, step: int, due: "_Due", ending: bool) -> None:
    """Write a progress line if it is due; a loss that is not finite is refused before a save."""
    config = training.config
    if due.log:
        training.metrics.write(learning_rate_at(step, config.optimizer, config.steps))
    elif ending or due.validation or due.checkpoint:
        training.metrics.fetch()


class _Due(NamedTuple):
    """Actions that are due after a step."""

    log: bool
    validation: bool
    checkpoint: bool


def _due(training: Training, step: int) -> _Due:
    config, last = training.config, step == training.config.steps
    every, best = config.checkpoint.every, config.checkpoint.best
    validation = training.validation.due(step)
    return _Due(
        log=last or step % config.log_every == 0,
        validation=validation,
        checkpoint=last or (every > 0 and step % every == 0) or (validation and best > 0),
    )


def _compile(training: Training) -> UpdateFn:
    """Compile the step ahead of time, and log the sizes of the run."""
    config, chrono, spec = training.config, training.chrono, training.spec
    before = chrono.seconds()["compile"]
    with training.signals.immediate(), chrono.pause("compile"):
        update = setup.compile_for(config, spec, training.mesh, training.length)
    training.run.log.info(
        "%s; %s of %d tokens, %s per step; mesh %s; compiled in %.1f s",
        _sizes(spec),
        counted(training.reader.rows, "row"),
        training.length,
        counted(config.batch_size, "row"),
        ", ".join(f"{axis}={size}" for axis, size in training.mesh.shape.items()),
        chrono.seconds()["compile"] - before,
    )
    return update


def _sizes(spec: RunSpec) -> str:
    """Return the number of parameters and, with LoRA, of those that are trained."""
    trained = f", of which {spec.trained:,} are trained" if spec.trained < spec.parameters else ""
    return f"{spec.parameters:,} parameters{trained}"


def _batches(training: Training, first: int) -> Iterator[DeviceBatch]:
    """Yield the batches of step `first` (from 0) and later ones, placed on the mesh.

    Each process reads only its own rows; the arrays are global.
    """
    placement, size = sharding.batch_sharding(training.mesh), training.config.batch_size
    for rows in training.reader.iterate(first):
        yield {
            name: jax.make_array_from_process_local_data(placement, array, (size, array.shape[1]))
            for name, array in rows.items()
        }


def _validate(training: Training, step: int, state: TrainState) -> Signals | None:
    """Validate the model of a step if it is due; return a signal that arrived meanwhile."""
    validation, signals = training.validation, training.signals
    if not validation.due(step):
        return None
    # Several processes would have to agree on when to stop.
    single_process = jax.process_count() == 1

    def stop_requested() -> bool:
        return single_process and signals(step) is not None

    with training.chrono.pause("validation"):
        try:
            measured = validation.measure(step, state.model_params, stop_requested)
        except ValidationStopped:
            return signals(step)
    row = {"step": step, **measured}
    training.tracking.log(*metrics_log.tracked(row, metrics_log.VALIDATION))
    return None


@contextlib.contextmanager
def _saving_on_failure(training: Training, step: int, state: TrainState) -> Iterator[None]:
    """Save the steps so far if a validation fails, for example because memory ran out.

    When the command is repeated, the run resumes with this validation. Several processes would
    wait for each other in the save, so they lose the steps since their last checkpoint.
    """
    try:
        yield
    except UserError:  # such as parameters that are NaN
        raise
    except Exception:
        if jax.process_count() == 1:
            with contextlib.suppress(ExplainedError, OSError):  # they must not hide the first error
                _save(training, step, state)
                training.checkpoints.finish()
        raise


def _save(training: Training, step: int, state: TrainState) -> None:
    """Start saving a checkpoint; return when the state may be donated."""
    training.chrono.begin("checkpoint")
    meta = {**training.spec.origin, "progress": training.metrics.state()}
    training.run.publish()  # the lines logged so far belong to the checkpoint
    training.checkpoints.save(step, state.params, setup.resumable(state), meta)


def _finish(training: Training) -> dict[str, Any]:
    """Write the summary and return the result."""
    config, run, metrics = training.config, training.run, training.metrics
    if metrics.step < config.steps:
        run.log.info(
            f"stopped early at step {metrics.step}: {config.validation.metric} has not improved in "
            f"the last {config.validation.patience} validations"
        )
    summary = results.summary(metrics, training.chrono, training.utilization)
    if jax.process_index() == 0:
        files.write_json(run.path / layout.SUMMARY, summary)
    run.log.info(results.summary_line(summary))
    result = results.result(
        config.steps, training.spec, metrics, training.chrono, training.validation,
        training.checkpoints,
    )  # fmt: skip
    if "best_step" in result and "best_checkpoint" not in result:
        run.log.warning(
            f"the checkpoint of step {result['best_step']}, the best by "
            f"{config.validation.metric}, was not kept; a run with config.checkpoint.best=1 keeps "
            "it"
        )
    return result
