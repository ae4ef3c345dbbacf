"""The objects that the training loop uses, opened in the order in which they need each other."""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import commit_marks
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.tracking import tracking as tracks
from teacherlm_jax.tracking.tracking import Tracking
from teacherlm_jax.training import device_memory, fed_rows, held_out, metrics_log, setup
from teacherlm_jax.training.chronometer import Chronometer
from teacherlm_jax.training.flops import Utilization
from teacherlm_jax.training.interrupt import StopRequests
from teacherlm_jax.training.metrics_log import MetricsLog
from teacherlm_jax.training.profiling import Profiler
from teacherlm_jax.training.setup import RunSpec
from teacherlm_jax.training.state import TrainState
from teacherlm_jax.training.validation import Validation
from teacherlm_jax.training.warm_start import starting_point


@dataclasses.dataclass(frozen=True)
class Training:
    """Objects that the training loop uses."""

    config: TrainConfig
    run: Run
    mesh: Mesh
    spec: RunSpec
    length: int  # tokens per row
    reader: RowReader
    chrono: Chronometer
    utilization: Utilization
    metrics: MetricsLog
    tracking: Tracking
    validation: Validation
    checkpoints: Checkpoints
    profiler: Profiler
    signals: StopRequests


def open_training(
    config: TrainConfig,
    run: Run,
    chrono: Chronometer,
    signals: StopRequests,
    stack: contextlib.ExitStack,
    tracked: contextlib.ExitStack,
) -> tuple[Training, TrainState]:
    """Open the objects that the loop uses, and the first state; the stacks close them."""
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", config.compilation_cache)
    mesh = sharding.make_mesh(config.mesh)
    data, start = prepared.open(config.data), starting_point(config.init_from)
    spec = _check(config, data, mesh, start)
    validation_data = held_out.open_data(config, spec)
    data, validation_data = setup.local_data(config, data, validation_data, run.log.info, stack)
    reader = setup.open_reader(config, data, mesh)
    utilization = Utilization.on(mesh, spec.model, data.length, config.lora)
    stack.enter_context(jax.set_mesh(mesh))
    validation = Validation(config, run, spec, mesh, validation_data)
    checkpoints = _checkpoints(config, run, validation)
    stack.callback(checkpoints.close)  # waits for pending writes

    state, earlier = setup.first_state(spec, checkpoints, start, config.seed)
    validation.drop_after(int(state.step))
    if jax.process_index() == 0:
        spec.vocabulary.save(run.path / layout.VOCABULARY)
    order = fed_rows.fed_order(mesh, config.batch_size)
    step = int(state.step)
    history = metrics_log.history(run.path, step) if jax.process_index() == 0 else ()
    tracking = tracked.enter_context(
        tracks.open_tracking("train", config, run, step=step, history=history)
    )
    metrics = MetricsLog(
        run.path, run.log, config.steps, earlier, chrono,
        rows_of=functools.partial(_rows_of, reader, order), rates=utilization.rates,
        track=tracking.log,
    )  # fmt: skip
    profiler = stack.enter_context(contextlib.closing(Profiler(config.profile, run)))
    training = Training(
        config, run, mesh, spec, data.length, reader, chrono, utilization, metrics, tracking,
        validation, checkpoints, profiler, signals,
    )  # fmt: skip
    return training, state


def _check(config: TrainConfig, data: Prepared, mesh: Mesh, start: str) -> RunSpec:
    """Return the run's shapes; refuse unusable settings before copying and allocating anything."""
    sharding.refuse_uneven_batch(mesh, config.batch_size, config.accumulate)
    spec = setup.make_run_spec(config, data, mesh, start)
    device_memory.refuse_too_large(config, spec, mesh, data.length)
    return spec


def _checkpoints(config: TrainConfig, run: Run, validation: Validation) -> Checkpoints:
    """Open the run's checkpoints, also those that were copied to its bucket."""
    folder, saving = run.address / layout.CHECKPOINTS, config.checkpoint
    for line in distributed.of_first(lambda: [*commit_marks.adopt(folder)]):
        run.log.warning(line)
    return Checkpoints(run.address, saving.keep, saving.best, validation.ranking)


def _rows_of(reader: RowReader, order: Sequence[int], step: int) -> list[int]:
    """Return the row numbers on disk of a step (from 1), in the order of the batch on the mesh."""
    numbers = reader.numbers(step - 1)
    return [numbers[place] for place in order]
