"""What a run needs before its first step: a sound request, its shapes and its first state."""

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
from teacherlm_jax.training.state import TrainState, abstract_state, initial_state
from teacherlm_jax.training.step import Step, batch_shapes, compile_step
from teacherlm_jax.training.warm_start import warm_start


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What a model and its optimiser will be on a mesh.

    Attributes:
        build: makes the model from random streams.
        graph: the model's graph definition; `nnx.merge(graph, params)` is the model.
        optimizer: its update rule.
        abstract: shapes and shardings of the state.
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
class Plan(Shapes):
    """A run as shapes: nothing of it is on a device yet.

    Attributes:
        model: its shape, `vocab_size` resolved.
        vocabulary: of the data.
        origin: what a checkpoint of this run says about itself; see `Checkpoints.save`.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    origin: dict[str, Any]


def open_reader(config: TrainConfig, data: Prepared, mesh: Mesh) -> RowReader:
    """Open the rows that this process feeds to the mesh.

    Raises UserError when the mesh does not divide the batch, or a shard cannot be read.
    """
    refuse_uneven(config, mesh)
    index, count = sharding.process_rows(mesh, config.batch_size)
    return data.reader(
        batch_size=config.batch_size,
        seed=config.seed,
        process_index=index,
        process_count=count,
        verify=config.verify_data,
    )


def refuse_uneven(config: TrainConfig, mesh: Mesh) -> None:
    """Raises UserError unless the mesh cuts each part of a batch into equal pieces."""
    cuts = sharding.batch_cuts(mesh)
    if config.batch_size % (cuts * config.accumulate):
        parts = f" times config.accumulate={config.accumulate}" if config.accumulate > 1 else ""
        raise UserError(
            f"config.batch_size={config.batch_size}: not divisible by {cuts}, the devices along "
            f"config.mesh.data*fsdp{parts}; choose a multiple, or a smaller mesh"
        )


def make_plan(config: TrainConfig, data: Prepared, mesh: Mesh) -> Plan:
    """Return the run's shapes and their sharding; UserError where something does not fit."""
    model = fit_to_vocabulary(config.model, data.vocabulary.size)
    what = f"{config.data}: was prepared with texts of up to"
    registry.refuse_longer(model, data.max_tokens, what)
    return Plan(
        **vars(make_shapes(config, model, mesh)),
        model=model,
        vocabulary=data.vocabulary,
        origin={
            "model": dataclasses.asdict(model),
            "config": dataclasses.asdict(config),
            "data": data.digest,
            "vocabulary": data.vocabulary.digest,
        },
    )


def make_shapes(config: TrainConfig, model: ModelConfig, mesh: Mesh) -> Shapes:
    """The shapes of a run of `model`, whose `vocab_size` is known; reads nothing.

    Raises UserError, by name and numbers, for a parameter that the mesh does not divide.
    """

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return registry.build(model, rngs)

    graph, params = sharding.abstract_model(lambda: build(nnx.Rngs(0)), mesh)
    optimizer = optimizers.make_optimizer(config.optimizer, config.steps)
    return Shapes(build, graph, optimizer, abstract_state(params, optimizer, mesh))


def compile_for(config: TrainConfig, shapes: Shapes, mesh: Mesh, length: int) -> Step:
    """The update of `config` compiled for rows of `length` tokens. Call it within the mesh."""
    return compile_step(
        shapes.graph,
        shapes.optimizer,
        shapes.abstract,
        batch_shapes(config.batch_size, length, mesh),
        mesh,
        config.loss_block,
        config.accumulate,
    )


def fit_to_vocabulary(model: ModelConfig, size: int) -> ModelConfig:
    """`model` with as many rows as the vocabulary has ids, unless it says more itself."""
    if model.vocab_size == 0:
        return dataclasses.replace(model, vocab_size=size)
    if model.vocab_size < size:
        raise UserError(
            f"config.model.vocab_size={model.vocab_size}: the data's vocabulary has {size} ids; "
            "wanted at least as many, or 0 for just as many"
        )
    return model


def first_state(
    config: TrainConfig, plan: Plan, checkpoints: Checkpoints
) -> tuple[TrainState, dict[str, Any]]:
    """The state to go on from, and what `Progress` counted until then.

    It is this run's newest checkpoint; else the parameters of `config.init_from`; else random.
    """
    if steps := checkpoints.steps():
        return _resumed(plan, checkpoints, steps[-1])
    params = None
    if config.init_from:
        params = warm_start(config.init_from, plan.model, plan.vocabulary, plan.abstract.params)
    return initial_state(plan.build, plan.optimizer, plan.abstract, config.seed, params), {}


def resumable(state: TrainState) -> dict[str, Any]:
    """The part of the state that a checkpoint keeps beside the parameters."""
    return {"opt_state": state.opt_state, "step": state.step, "key": state.key}


def _resumed(plan: Plan, checkpoints: Checkpoints, step: int) -> tuple[TrainState, dict[str, Any]]:
    meta = checkpoints.meta(step)
    for key, name in (("data", "data (its manifest)"), ("vocabulary", "vocabulary")):
        if meta[key] != plan.origin[key]:
            raise UserError(
                f"{checkpoints.path(step)}: was trained with another {name}: {meta[key]}, now "
                f"{plan.origin[key]}; bring the old one back, or choose another config.output"
            )
    params = checkpoints.params(step, plan.abstract.params)
    rest = checkpoints.optimizer(step, resumable(plan.abstract))
    return TrainState(params=params, **rest), meta["progress"]
