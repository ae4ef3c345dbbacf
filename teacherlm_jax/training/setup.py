"""Everything that a run needs before its first step: valid settings, shapes and a first state."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ModelConfig, TrainConfig
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.training import optimizer as optimizers
from teacherlm_jax.training.loss_tokens import refuse_without_loss
from teacherlm_jax.training.state import TrainState, abstract_state, initial_state
from teacherlm_jax.training.step import UpdateFn, batch_shapes, compile_step
from teacherlm_jax.training.warm_start import warm_start


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model and its optimizer on a mesh as shapes and shardings; nothing is allocated.

    Attributes:
        build: makes the model from random streams.
        graph: the model's graph definition; `nnx.merge(graph, params)` is the model.
        optimizer: its update rule.
        abstract: shapes, dtypes and shardings of the training state.
    """

    build: Callable[[nnx.Rngs], nnx.Module]
    graph: nnx.GraphDef
    optimizer: optax.GradientTransformation
    abstract: TrainState

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(array.size for array in jax.tree.leaves(self.abstract.params))


@dataclasses.dataclass(frozen=True)
class RunSpec(ModelSpec):
    """A training run as shapes, with the data that it was made for.

    Attributes:
        model: shape of the model, `vocab_size` resolved.
        vocabulary: of the data.
        origin: what every checkpoint of this run records about it; see `Checkpoints.save`.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    origin: dict[str, Any]


def open_reader(config: TrainConfig, data: Prepared, mesh: Mesh) -> RowReader:
    """Open the rows that this process feeds to the mesh.

    Raises UserError if a shard cannot be read, or no token of the rows bears loss.
    """
    index, count = sharding.process_rows(mesh, config.batch_size)
    reader = data.reader(
        batch_size=config.batch_size,
        seed=config.seed,
        process_index=index,
        process_count=count,
        verify=config.verify_data,
    )
    refuse_without_loss(reader, reader.rows, f"config.data={config.data}")
    return reader


def refuse_uneven(config: TrainConfig, mesh: Mesh) -> None:
    """Raise UserError unless the mesh divides each part of a batch evenly."""
    cuts = sharding.batch_cuts(mesh)
    if config.batch_size % (cuts * config.accumulate):
        parts = f" times config.accumulate={config.accumulate}" if config.accumulate > 1 else ""
        raise UserError(
            f"config.batch_size={config.batch_size}: not divisible by {cuts}, the devices along "
            f"config.mesh.data*fsdp{parts}; choose a multiple, or a smaller mesh"
        )


def make_run_spec(config: TrainConfig, data: Prepared, mesh: Mesh) -> RunSpec:
    """Return the shapes of a run on prepared data; UserError if model, data or mesh do not fit."""
    model = fit_to_vocabulary(config.model, data.vocabulary.size)
    what = f"{config.data}: was prepared with texts of up to"
    registry.refuse_longer(model, data.max_tokens, what)
    return RunSpec(
        **vars(make_model_spec(config, model, mesh)),
        model=model,
        vocabulary=data.vocabulary,
        origin={
            "model": dataclasses.asdict(model),
            "config": dataclasses.asdict(config),
            "data": data.digest,
            "vocabulary": data.vocabulary.digest,
        },
    )


def make_model_spec(config: TrainConfig, model: ModelConfig, mesh: Mesh) -> ModelSpec:
    """Return the shapes for training `model`, whose `vocab_size` is known; reads no files.

    Raises UserError naming a parameter that the mesh does not divide, with both numbers.
    """

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return registry.build(model, rngs)

    graph, params = sharding.abstract_model(lambda: build(nnx.Rngs(0)), mesh)
    optimizer = optimizers.make_optimizer(config.optimizer, config.steps)
    return ModelSpec(build, graph, optimizer, abstract_state(params, optimizer, mesh))


def compile_for(config: TrainConfig, spec: ModelSpec, mesh: Mesh, length: int) -> UpdateFn:
    """Compile the update of `config` for rows of `length` tokens; call it under the mesh."""
    return compile_step(
        spec.graph,
        spec.optimizer,
        spec.abstract,
        batch_shapes(config.batch_size, length, mesh),
        mesh,
        config.loss_block,
        config.accumulate,
    )


def fit_to_vocabulary(model: ModelConfig, size: int) -> ModelConfig:
    """Return `model` with a `vocab_size` of `size` ids, unless it sets a larger one itself."""
    if model.vocab_size == 0:
        return dataclasses.replace(model, vocab_size=size)
    if model.vocab_size < size:
        raise UserError(
            f"config.model.vocab_size={model.vocab_size}: the vocabulary of the data has {size} "
            f"ids; set it to {size} or more, or to 0 for exactly as many"
        )
    return model


def first_state(
    config: TrainConfig, spec: RunSpec, checkpoints: Checkpoints
) -> tuple[TrainState, dict[str, Any]]:
    """Return the state to continue from, and the `MetricsLog.state` that was saved with it.

    It is that of the run's newest checkpoint; otherwise it has the parameters of
    `config.init_from`; otherwise random ones.
    """
    if steps := checkpoints.steps():
        return _resumed(spec, checkpoints, steps[-1])
    params = None
    if config.init_from:
        params = warm_start(config.init_from, spec.model, spec.vocabulary, spec.abstract.params)
    return initial_state(spec.build, spec.optimizer, spec.abstract, config.seed, params), {}


def resumable(state: TrainState) -> dict[str, Any]:
    """Return the part of the state that a checkpoint keeps beside the parameters."""
    return {"opt_state": state.opt_state, "step": state.step, "key": state.key}


def _resumed(
    spec: RunSpec, checkpoints: Checkpoints, step: int
) -> tuple[TrainState, dict[str, Any]]:
    meta = checkpoints.meta(step)
    for key, name in (("data", "data (its manifest)"), ("vocabulary", "a vocabulary")):
        if meta[key] != spec.origin[key]:
            raise UserError(
                f"{checkpoints.path(step)}: was trained on {name} with the digest {meta[key]}, but "
                f"config.data has {spec.origin[key]}; restore the old data, or choose another "
                "config.output"
            )
    params = checkpoints.params(step, spec.abstract.params)
    rest = checkpoints.optimizer(step, resumable(spec.abstract))
    return TrainState(params=params, **rest), meta["progress"]
