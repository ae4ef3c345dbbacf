"""The training step that `train` runs, compiled for a slice."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, TrainConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import attention_blockwise, registry
from teacherlm_jax.planning.program_figures import Workload
from teacherlm_jax.planning.programs import CompiledProgram, compiled
from teacherlm_jax.sharding import AnyMesh, Tree
from teacherlm_jax.training import setup
from teacherlm_jax.training.flops import model_flops
from teacherlm_jax.wording import counted

ASSUMED_LENGTH = 2048  # tokens of a packed row in the paper


@dataclasses.dataclass(frozen=True)
class PlannedTraining:
    """A training run on a slice or on GPUs, as shapes.

    Attributes:
        requested: the config as the user wrote it.
        config: the config with all sizes resolved.
        mesh: mesh of the chips; an abstract one can be planned with, but not compiled for.
        shapes: shapes of model and optimizer.
        length: tokens per row.
        assumed: the assumptions, a sentence each.
    """

    requested: TrainConfig
    config: TrainConfig
    mesh: AnyMesh
    shapes: setup.ModelSpec
    length: int
    assumed: tuple[str, ...]

    @property
    def workload(self) -> Workload:
        """Return the work of one step, if every row is one text."""
        tokens = self.config.batch_size * self.length
        needed = model_flops(self.config.model, tokens, self.length, self.config.lora)
        return Workload(dict(self.mesh.shape), needed, visits(self.config.model, self.length))

    def speed(self, seconds: float) -> dict[str, Any]:
        """Return the speed and the time of the whole run when a step takes so long, JSON-able."""
        hours = seconds * self.config.steps / 3600
        return {
            "step_seconds": seconds,
            "tokens_per_second": self.config.batch_size * self.length / seconds,
            "steps": self.config.steps,
            "hours": hours,
            "chip_hours": hours * self.mesh.size,
        }

    def with_config(
        self, config: TrainConfig, devices: Sequence[jax.Device] | int
    ) -> "PlannedTraining":
        """Return the training run with another config."""
        return prepare(config, devices, self.length)

    def compiled(self) -> CompiledProgram:
        """Compile the step that `train` runs."""
        mesh = with_devices(self.mesh)
        with jax.set_mesh(mesh):
            return compiled(
                "training step",
                lambda: setup.compile_for(self.config, self.shapes, mesh, self.length),
            )


def planned_mesh(config: MeshConfig, devices: Sequence[jax.Device] | int) -> AnyMesh:
    """Return the mesh over devices, or over a number of devices that are not described here."""
    if isinstance(devices, int):
        return sharding.abstract_mesh(config, devices)
    return sharding.make_mesh(config, devices)


def with_devices(mesh: AnyMesh) -> Mesh:
    """Return a mesh that programs can be compiled for; ValueError if it has no devices."""
    if isinstance(mesh, Mesh):
        return mesh
    raise ValueError(f"{mesh}: has no devices to compile for")


def prepare(
    config: TrainConfig, devices: Sequence[jax.Device] | int, length: int
) -> PlannedTraining:
    """Return the training run of `config` on these devices, or on this number of them.

    `length` is the number of tokens per row; 0: that of its data, else 2048. Raises UserError if
    model, batch and mesh are incompatible.
    """
    mesh = planned_mesh(config.mesh, devices)
    sharding.refuse_uneven_batch(mesh, config.batch_size, config.accumulate)
    length, model, assumed = _of_data(config, length)
    settled = dataclasses.replace(config, model=model, mesh=MeshConfig(*mesh.axis_sizes))
    shapes = setup.make_model_spec(model, mesh, config.optimizer, config.steps, config.lora)
    return PlannedTraining(config, settled, mesh, shapes, length, assumed)


def _of_data(config: TrainConfig, length: int) -> tuple[int, ModelConfig, tuple[str, ...]]:
    """Return the length of rows, the model with its vocabulary size, and the assumptions."""
    model = config.model
    assumed: tuple[str, ...] = ()
    if prepared.is_prepared(config.data):
        data = prepared.open(config.data)
        length = length or data.length
        return length, setup.fit_to_data(model, data, config.data), assumed
    if not length:
        length = ASSUMED_LENGTH
        assumed = (
            f"rows of {length} tokens, because {config.data} does not exist here (--length)",
        )
    if not model.vocab_size:
        raise UserError(
            f"config.model.vocab_size: 0, and {config.data} does not exist here; set it, as in "
            "--config.model.vocab_size=250880"
        )
    registry.refuse_longer(model, length, "--length: rows of", "set --length")
    return length, model, assumed


def visits(model: ModelConfig, length: int) -> float:
    """Return the mean number of key blocks per query block, if every row is one text.

    Only blockwise attention has loops that depend on the texts; 1 for other implementations.
    """
    if model.attention != "blockwise":
        return 1.0
    return (math.ceil(length / attention_blockwise.BLOCK) + 1) / 2


def bytes_of(tree: Tree) -> tuple[float, float]:
    """Return the bytes of a tree of abstract arrays, in total and per chip."""
    leaves = jax.tree.leaves(tree)
    held = (math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)
    return float(sum(x.size * x.dtype.itemsize for x in leaves)), float(sum(held))


def held(tree: Tree) -> dict[str, float]:
    """Return `bytes_of` a tree by name, JSON-able."""
    total, chip = bytes_of(tree)
    return {"total": total, "chip": chip}


def summary(run: PlannedTraining) -> str:
    """Return a line about the run."""
    config, model = run.config, run.config.model
    return (
        f"training: {counted(config.batch_size, 'row')} of {run.length} tokens per step, "
        f"accumulate={config.accumulate}; remat={model.remat}, attention={model.attention}"
    )
