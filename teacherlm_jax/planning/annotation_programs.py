"""The programs of an annotation, compiled for a slice."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import AnnotateConfig, LoraConfig, MeshConfig, ModelConfig
from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.engine import Engine, EngineProgram
from teacherlm_jax.generation.slot_numbers import cache_entries, prefill_size
from teacherlm_jax.hf import any_model
from teacherlm_jax.models import int8, registry
from teacherlm_jax.planning.program_figures import Workload
from teacherlm_jax.planning.programs import CompiledProgram, compiled
from teacherlm_jax.planning.training_program import planned_mesh, visits, with_devices
from teacherlm_jax.sharding import AnyMesh, Tree
from teacherlm_jax.wording import counted

ASSUMED_LENGTH = 2048  # tokens of the longest prompt
STEPS = 16  # decode steps of the planned program
# Tokens of an explanation by a teacher of 7.1B parameters: the middle of what arXiv 2310.19019 has.
TOKENS = {"cot": 70, "fundamental": 164, "mistake": 52}


@dataclasses.dataclass(frozen=True)
class PlannedAnnotation:
    """An annotation on a slice or on GPUs, as shapes.

    Attributes:
        config: the config, with the sizes of the mesh resolved.
        mesh: mesh of the chips; an abstract one can be planned with, but not compiled for.
        model: shape of the teacher.
        graph: graph definition of the teacher.
        params: abstract parameters of the teacher.
        length: tokens of the longest prompt.
        assumed: the assumptions, a sentence each.
        lora: settings of the teacher's adapters; None without adapters.
    """

    config: AnnotateConfig
    mesh: AnyMesh
    model: ModelConfig
    graph: nnx.GraphDef
    params: Tree
    length: int
    assumed: tuple[str, ...]
    lora: LoraConfig | None = None

    @property
    def parameters(self) -> int:
        """Return the number of the teacher's parameters."""
        whole = int8.restored(self.params)  # without scales
        return sum(array.size for array in jax.tree.leaves(whole))

    @property
    def members(self) -> int:
        """Return the maximum number of kinds of explanations that one teacher writes."""
        return max(Counter(loaded_teachers(self.config)).values(), default=1)

    @property
    def group(self) -> int:
        """Return the number of prompts that one prefill reads, each for all members."""
        return prefill_size(self.config.slots, self.members, sharding.batch_shards(self.mesh))[1]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of explanations that teachers on the slice write."""
        loaded = loaded_teachers(self.config)
        return tuple(kind for kind in TOKENS if getattr(self.config.teachers, kind) in loaded)

    def speed(self, prefill_seconds: float, decode_seconds: float, rows: int) -> dict[str, Any]:
        """Return the speed of the slice when its programs take so long, JSON-able.

        Every text is assumed to be as long as the paper's of its kind, but no longer than
        `max_new_tokens`. With `rows`, `hours` and `chip_hours` are those of all their explanations.
        """
        longest = self.config.sampling.max_new_tokens
        tokens = [min(TOKENS[kind], longest) for kind in self.kinds] or [longest]
        mean = sum(tokens) / len(tokens)
        per_text = prefill_seconds / (self.group * self.members)
        per_text += mean * decode_seconds / (STEPS * self.config.slots)
        hours = rows * len(tokens) * per_text / 3600
        return {
            "tokens_per_text": mean,
            "tokens_per_second": mean / per_text,
            "texts_per_second": 1 / per_text,
            "rows": rows,
            "hours": hours if rows else None,
            "chip_hours": hours * self.mesh.size if rows else None,
        }

    @property
    def workloads(self) -> list[Workload]:
        """Return the work of prefill and decode; decode is counted with all its steps."""
        mesh = dict(self.mesh.shape)
        return [Workload(mesh, None, visits(self.model, self.length)), Workload(mesh, None, STEPS)]

    def with_config(
        self, config: AnnotateConfig, devices: Sequence[jax.Device] | int
    ) -> "PlannedAnnotation":
        """Return the annotation with another config."""
        return _of_model(config, devices, self.model, self.lora, self.length, self.assumed)

    @property
    def entries(self) -> int:
        """Return the entries of the KV cache per slot."""
        return cache_entries(self.length, self.config.sampling.max_new_tokens)

    @property
    def cache(self) -> float:
        """Return the bytes per chip of the KV cache at full length."""
        tokens = self.config.slots * self.entries
        itemsize = jnp.dtype(self.model.dtype).itemsize
        return 2 * self.model.layers * tokens * self.model.width * itemsize / self.mesh.size

    def programs(self) -> list[EngineProgram]:
        """Return prefill of the longest prompts, and decode with the full length of the cache."""
        with jax.set_mesh(with_devices(self.mesh)):
            return self._engine().programs()

    def held(self) -> tuple[int, int]:
        """Return the bytes per chip of the parameters, and of the slots with the KV cache.

        Raises UserError if the slots do not fit the mesh, or the texts exceed the positions that
        the model has learned.
        """
        with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
            return self._engine().bytes_per_device()

    def _engine(self) -> Engine:
        return Engine(
            nnx.merge(self.graph, self.params),
            slots=self.config.slots,
            prompt_length=self.length,
            sampling=self.config.sampling,
            eos_id=self.model.vocab_size - 1,
            drawable=range(self.model.vocab_size),
            members=self.members,
            steps_per_sync=STEPS,
        )

    def compiled(self) -> list[CompiledProgram]:
        """Compile the programs."""
        return [compiled(program.name, program.lowered.compile) for program in self.programs()]


def prepare(
    config: AnnotateConfig, devices: Sequence[jax.Device] | int, length: int, named: str
) -> PlannedAnnotation:
    """Return the annotation of `config` on these devices.

    Args:
        config: the config.
        devices: the chips, or their number.
        length: tokens of the longest prompt; 0: `config.prompt_length`, else 2048.
        named: name of the teacher's published shape; empty: the teachers' checkpoints are read.

    Raises UserError if a teacher's checkpoint is missing and no shape is named, and if the model
    cannot be sharded over the mesh.
    """
    model, lora, assumed = _teacher(config, named)
    model = dataclasses.replace(
        model, dtype=config.dtype or model.dtype, attention=config.attention or model.attention
    )
    length = length or config.prompt_length
    if not length:
        length = ASSUMED_LENGTH
        assumed += (f"prompts of up to {length} tokens (--length)",)
    return _of_model(config, devices, model, lora, length, assumed)


def _of_model(
    config: AnnotateConfig,
    devices: Sequence[jax.Device] | int,
    model: ModelConfig,
    lora: LoraConfig | None,
    length: int,
    assumed: tuple[str, ...],
) -> PlannedAnnotation:
    mesh = planned_mesh(config.mesh, devices)
    settled = dataclasses.replace(config, mesh=MeshConfig(*mesh.axis_sizes))
    return PlannedAnnotation(
        config=settled,
        mesh=mesh,
        length=length,
        assumed=assumed,
        **shapes(model, mesh, lora, config.weights),
    )


def shapes(
    model: ModelConfig, mesh: AnyMesh, lora: LoraConfig | None = None, weights: str = ""
) -> dict[str, Any]:
    """Return the fields of a planned annotation that describe its model."""
    graph, params = registry.abstract(model, mesh, lora, weights)
    stored = registry.for_inference(model, params)
    return {"model": model, "lora": lora, "graph": graph, "params": stored}


def loaded_teachers(config: AnnotateConfig) -> list[str]:
    """Return the names of the teachers whose models are loaded, one for each kind."""
    names = dataclasses.astuple(config.teachers)
    return [name for name in names if name and not is_endpoint(name)]


def _teacher(
    config: AnnotateConfig, named: str
) -> tuple[ModelConfig, LoraConfig | None, tuple[str, ...]]:
    """Return the named shape, or that of the largest teacher, with the assumptions made."""
    if named:
        return registry.shape(named), None, (f"the teacher is a {named} (--model)",)
    folders = sorted(set(loaded_teachers(config)))
    if not folders:
        raise UserError(
            "config.teachers: all teachers are on servers, so there is nothing to compile; name a "
            "run folder, or a shape as in --model=bloom-7b1"
        )
    models = {}
    for folder in folders:
        try:
            models[folder] = any_model.describe(folder)
        except UserError as error:
            raise UserError(f"{error}; or name its shape, as in --model=bloom-7b1") from None
    sizes = {
        folder: model.config.layers * model.config.width**2 for folder, model in models.items()
    }
    largest = max(models, key=lambda folder: sizes[folder])
    others = len(models) - 1
    assumed = (f"{largest} is the largest of {others + 1} teachers",) * bool(others)
    return models[largest].config, models[largest].lora, assumed


def summary(run: PlannedAnnotation) -> str:
    """Return a line about the run."""
    config = run.config
    return (
        f"annotation: {counted(config.slots, 'slot')}, prompts of up to {run.length} tokens, "
        f"{counted(config.sampling.max_new_tokens, 'new token')}; attention={run.model.attention}"
    )
