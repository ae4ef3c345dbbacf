"""Setup of a run before its first step: valid settings, shapes and the first state."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.adapter_origin import AdapterOrigin
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import LoraConfig, ModelConfig, OptimizerConfig, TrainConfig
from teacherlm_jax.data.cached_rows import RowCache
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.models import adapter, registry
from teacherlm_jax.sharding import AnyMesh, Tree
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.training import fed_rows
from teacherlm_jax.training.loss_tokens import refuse_without_loss
from teacherlm_jax.training.optimizer import make_optimizer
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
        return sum(array.size for array in jax.tree.leaves(self.abstract.model_params))

    @property
    def trained(self) -> int:
        """Number of parameters that are trained: with LoRA, those of the adapters."""
        return sum(array.size for array in jax.tree.leaves(self.abstract.params))


@dataclasses.dataclass(frozen=True)
class RunSpec(ModelSpec):
    """A training run as shapes, with its vocabulary and provenance.

    Attributes:
        model: shape of the model, `vocab_size` resolved.
        vocabulary: vocabulary of the data.
        origin: provenance that every checkpoint of this run records; see `Checkpoints.save`.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    origin: dict[str, Any]


def local_data(
    config: TrainConfig,
    data: Prepared,
    held_out: Prepared | None,
    say: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> tuple[Prepared, Prepared | None]:
    """Return the data and the validation data, if any, from a bucket as copies on this machine.

    `say` gets lines about copies. They may be removed when `stack` is closed; see `RowCache`.
    """
    cache = RowCache(
        config.data_cache, limit_gib=config.data_cache_gib, verify=config.verify_data, say=say
    )
    stack.callback(cache.close)
    return cache.local(data), cache.local(held_out) if held_out else None


def open_reader(config: TrainConfig, data: Prepared, mesh: Mesh) -> RowReader:
    """Open the rows of the prepared data that this process feeds to the mesh.

    Raises UserError if a shard cannot be read, or the rows have no trained token.
    """
    index, count = fed_rows.process_rows(mesh, config.batch_size)
    reader = data.reader(
        batch_size=config.batch_size,
        seed=config.seed,
        process_index=index,
        process_count=count,
        verify=config.verify_data,
    )
    refuse_without_loss(reader, reader.rows, f"config.data={config.data}")
    return reader


def make_run_spec(config: TrainConfig, data: Prepared, mesh: Mesh, start: str = "") -> RunSpec:
    """Return the shapes of a run on prepared data; UserError if model, data or mesh do not fit.

    `start` is the `starting_point` of a run with LoRA; empty: `config.init_from`.
    """
    model = fit_to_data(config.model, data, config.data)
    adapted = {}
    if config.lora.rank:
        base = any_model.base_of(start or config.init_from, config.output)
        adapted = AdapterOrigin(config.lora, base).to_meta()
    return RunSpec(
        **vars(make_model_spec(model, mesh, config.optimizer, config.steps, config.lora)),
        model=model,
        vocabulary=data.vocabulary,
        origin={
            "model": dataclasses.asdict(model),
            "config": dataclasses.asdict(config),
            "data": data.digest,
            "vocabulary": data.vocabulary.digest,
            **adapted,
        },
    )


def make_model_spec(
    model: ModelConfig,
    mesh: AnyMesh,
    optimizer: OptimizerConfig,
    steps: int,
    lora: LoraConfig | None = None,
) -> ModelSpec:
    """Return the shapes for training `model`, whose `vocab_size` is known; reads no files.

    With LoRA only the adapters are trained. The other parameters are stored in the dtype of the
    computation if that is smaller, which changes no result.

    Raises UserError naming a parameter that the mesh does not divide, with both numbers.
    """

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return registry.build(model, rngs, lora)

    graph, params = sharding.abstract_model(lambda: build(nnx.Rngs(0)), mesh)
    updates, frozen = make_optimizer(optimizer, steps), None
    if lora and lora.rank:
        base, params = adapter.split(params)
        frozen = registry.for_inference(model, base)
    return ModelSpec(build, graph, updates, abstract_state(params, updates, mesh, frozen))


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


def fit_to_data(model: ModelConfig, data: Prepared, name: str) -> ModelConfig:
    """Return `model` with the vocabulary of the data; UserError if its texts are too long.

    `name` names the data in the message.
    """
    model = fit_to_vocabulary(model, data.vocabulary.size)
    refuse_longer_texts(model, data, name)
    return model


def refuse_longer_texts(model: ModelConfig, data: Prepared, name: str) -> None:
    """Raise UserError if the model has too few learned positions for texts of the data."""
    subject = f"{name}: was prepared with texts of up to"
    remedy = "prepare it in another folder with config.max_tokens"
    registry.refuse_longer(model, data.max_tokens, subject, remedy)


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
    spec: RunSpec, checkpoints: Checkpoints, start: str, seed: int
) -> tuple[TrainState, dict[str, Any]]:
    """Return the state to continue from, and the `MetricsLog.state` that was saved with it.

    The state is that of the run's newest checkpoint. If there is none, its parameters come from
    `start`, the `starting_point` of the run, or if that is empty, from `seed`. With LoRA, a
    checkpoint has the adapters, and the frozen parameters always come from `start`.
    """
    wanted = spec.abstract.params if spec.abstract.frozen is None else spec.abstract.frozen
    if steps := checkpoints.steps():
        frozen = None
        if spec.abstract.frozen is not None:
            frozen = warm_start(start, spec.model, spec.vocabulary, wanted)
        return _resumed(spec, checkpoints, steps[-1], frozen)
    params = None
    if start:
        params = warm_start(start, spec.model, spec.vocabulary, wanted)
    return initial_state(spec.build, spec.optimizer, spec.abstract, seed, params), {}


def resumable(state: TrainState) -> dict[str, Any]:
    """Return the part of the state that a checkpoint keeps in addition to the parameters."""
    return {"opt_state": state.opt_state, "step": state.step, "key": state.key}


def _resumed(
    spec: RunSpec, checkpoints: Checkpoints, step: int, frozen: Tree
) -> tuple[TrainState, dict[str, Any]]:
    meta = checkpoints.meta(step)
    for key, name in (("data", "data (its manifest)"), ("vocabulary", "a vocabulary")):
        if key in meta and meta[key] != spec.origin[key]:  # a converted model has no data
            raise UserError(
                f"{checkpoints.path(step)}: was trained on {name} with the digest {meta[key]}, but "
                f"config.data has {spec.origin[key]}; restore the old data, or choose another "
                "config.output"
            )
    own, now = AdapterOrigin.of(meta), AdapterOrigin.of(spec.origin)
    if own and now and own.base.digest != now.base.digest:
        raise UserError(
            f"{checkpoints.path(step)}: has adapters for a base with the digest {own.base.digest}, "
            f"but config.init_from has {now.base.digest}; restore the old base, or choose another "
            "config.output"
        )
    params = checkpoints.params(step, spec.abstract.params)
    rest = checkpoints.optimizer(step, resumable(spec.abstract))
    return TrainState(params=params, **rest, frozen=frozen), meta["progress"]
