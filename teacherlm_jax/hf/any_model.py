"""Models by any path: run folders, single checkpoints, Hugging Face folders and the hub."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
from etils import epath
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Shaped

from teacherlm_jax import capacity
from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.checkpoints.adapter_origin import (
    AdapterBase,
    AdapterOrigin,
    model_digest,
    relative,
    under_run,
)
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import hub, model_folder, model_path
from teacherlm_jax.models import adapter, int8, registry
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """A model whose parameters have not been loaded.

    Attributes:
        path: the checkpoint or Hugging Face folder that was meant. It stays the same model when a
            run writes newer checkpoints or a model on the hub gets a new revision.
        vocabulary: of its tokens.
        config: its shape, `vocab_size` resolved.
        step: number of updates; 0 for a Hugging Face folder.
        origin: settings of its LoRA adapters, and their base; None without adapters.
    """

    path: epath.Path
    vocabulary: Vocabulary
    config: ModelConfig
    step: int
    _make_digest: Callable[[], str]
    origin: AdapterOrigin | None = None

    @property
    def lora(self) -> LoraConfig | None:
        """Settings of its LoRA adapters; None without adapters."""
        return self.origin.lora if self.origin else None

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` that identifies the parameters; the same as that of the loaded model.

        For a checkpoint it is recorded with the parameters. For a Hugging Face folder it is
        computed from the weight files, which takes as long as reading them.
        """
        return self._make_digest()


def describe(path: epath.PathLike) -> ModelDescription:
    """Describe a model without loading its parameters.

    Args:
        path: a run folder (its newest checkpoint), `RUN/checkpoints/STEP`,
            `RUN/checkpoints/best`, a Hugging Face folder, or `hf://org/name[@revision]`.

    Raises UserError when there is no model, or it is damaged or incomplete.
    """
    folder, is_checkpoint = model_path.resolve(path)
    if not is_checkpoint:
        opened = model_folder.open_model(folder)
        return ModelDescription(folder, opened.vocabulary, opened.config, 0, lambda: opened.digest)
    checkpoints, step = saved_model.open_checkpoint(locations.absolute(folder))
    meta = checkpoints.meta(step)
    vocabulary = saved_model.load_vocabulary(checkpoints.run, meta["vocabulary"])
    checkpoints.close()
    config, origin = ModelConfig(**meta["model"]), AdapterOrigin.of(meta)
    return ModelDescription(
        *(checkpoints.path(step), vocabulary, config, step, lambda: model_digest(meta)),
        origin=origin,
    )


def load(
    path: epath.PathLike, mesh: Mesh, *, dtype: str = "", attention: str = "", weights: str = ""
) -> LoadedModel:
    """Load a model with its parameters on `mesh`.

    Args:
        path: as for `describe`.
        mesh: devices that hold the parameters.
        dtype: compute dtype; empty: the one it was trained with, bfloat16 for a Hugging Face
            folder. Parameters outside norms are stored in it if that makes them smaller.
        attention: attention implementation; empty: the one it was trained with.
        weights: "int8" stores kernels and tables in int8; empty: in `dtype`.

    Raises UserError when there is no model, when it is damaged or incomplete, when its parameters
    exceed the memory of a device, or when int8 needs a package that is missing.
    """
    if weights not in ("", int8.NAME):
        raise UserError(f"weights={weights!r}: expected {int8.NAME!r}, or empty for the dtype")
    if weights:
        int8.require_qwix()
    folder, is_checkpoint = model_path.resolve(path)
    if is_checkpoint:
        checkpoints, step = saved_model.open_checkpoint(locations.absolute(folder))
        origin = AdapterOrigin.of(checkpoints.meta(step))
        if origin is not None:
            return _load_adapted(checkpoints, step, origin, mesh, dtype, attention, weights)
        checkpoints.close()
        return saved_model.load_model(
            locations.absolute(folder), mesh, dtype=dtype, attention=attention, weights=weights
        )
    opened = model_folder.open_model(folder)
    config = _computing(opened.config, dtype, attention)
    graph, abstract = registry.abstract(config, mesh, weights=weights)
    abstract = registry.for_inference(config, abstract)
    capacity.refuse_too_large(str(path), abstract, mesh, convertible=True)
    model = nnx.merge(graph, opened.parameters(abstract))
    return LoadedModel(model, opened.vocabulary, config, 0, opened.digest)


def _computing(config: ModelConfig, dtype: str, attention: str) -> ModelConfig:
    return dataclasses.replace(
        config, dtype=dtype or config.dtype, attention=attention or config.attention
    )


def _load_adapted(
    checkpoints: Checkpoints,
    step: int,
    origin: AdapterOrigin,
    mesh: Mesh,
    dtype: str,
    attention: str,
    weights: str,
) -> LoadedModel:
    """Load a checkpoint of a LoRA run, and the base that it belongs to; close the checkpoints."""
    meta = checkpoints.meta(step)
    vocabulary = saved_model.load_vocabulary(checkpoints.run, meta["vocabulary"])
    config = _computing(ModelConfig(**meta["model"]), dtype, attention)
    graph, abstract = registry.abstract(config, mesh, origin.lora, weights)
    abstract = registry.for_inference(config, abstract)
    of_base, of_adapters = adapter.split(abstract)
    restored = int8.restored(of_base) if weights else of_base
    size = adapter.joined(restored, of_adapters)
    capacity.refuse_too_large(str(checkpoints.path(step)), size, mesh, convertible=False)
    base = parameters(_base_path(checkpoints, step, origin), restored)
    if weights:
        base = int8.quantized(base, of_base)
    adapters = checkpoints.params(step, of_adapters, cast=True)
    checkpoints.close()
    model = nnx.merge(graph, adapter.joined(base, adapters))
    return LoadedModel(model, vocabulary, config, step, model_digest(meta))


def load_together(
    paths: Sequence[epath.PathLike],
    mesh: Mesh,
    *,
    dtype: str = "",
    attention: str = "",
    weights: str = "",
) -> tuple[LoadedModel, list[LoadedModel]]:
    """Load LoRA runs with equal settings over one base, which is loaded once.

    Returns a model with the adapters of all, of which each row of a batch chooses one by its index
    in `paths`, and the model of each path. They share the parameters of the base. Arguments and
    errors are those of `load`.
    """
    first = load(paths[0], mesh, dtype=dtype, attention=attention, weights=weights)
    graph, state = nnx.split(first.model)
    base, adapters = adapter.split(nnx.to_pure_dict(state))
    wanted = jax.tree.map(_abstract, adapters)
    models, every = [first], [adapters]
    for path in paths[1:]:
        checkpoints, step = saved_model.open_checkpoint(locations.absolute(StoragePath(path)))
        meta = checkpoints.meta(step)
        every.append(checkpoints.params(step, wanted, cast=True))
        checkpoints.close()
        model = nnx.merge(graph, adapter.joined(base, every[-1]))
        digest = model_digest(meta)
        models.append(dataclasses.replace(first, model=model, step=step, digest=digest))
    together = nnx.merge(graph, adapter.joined(base, adapter.stacked(every)))
    return dataclasses.replace(first, model=together, adapters=len(paths)), models


def _abstract(array: Shaped[Array, "..."]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


def parameters(path: epath.PathLike, abstract: Tree) -> Tree:
    """Return the parameters of a model with the shapes, dtypes and shardings of `abstract`.

    Those of a LoRA run are merged into its base. `path` is as for `describe`. Raises UserError when
    there is no model, when it is damaged or incomplete, or has other shapes.
    """
    folder, is_checkpoint = model_path.resolve(path)
    if not is_checkpoint:
        return model_folder.open_model(folder).parameters(abstract)
    checkpoints, step = saved_model.open_checkpoint(locations.absolute(folder))
    meta = checkpoints.meta(step)
    if (origin := AdapterOrigin.of(meta)) is None:
        found = checkpoints.params(step, abstract, cast=True)
        checkpoints.close()
        return found
    config = ModelConfig(**meta["model"])
    mesh = jax.tree.leaves(abstract)[0].sharding.mesh
    of_base, of_adapters = adapter.split(registry.abstract(config, mesh, origin.lora)[1])
    base = parameters(_base_path(checkpoints, step, origin), of_base)
    adapters = checkpoints.params(step, of_adapters)
    checkpoints.close()

    def merge(base: Tree, adapters: Tree) -> Tree:
        whole = adapter.merged(base, adapters, origin.lora)
        return jax.tree.map(lambda array, wanted: array.astype(wanted.dtype), whole, abstract)

    placed = jax.tree.map(lambda array: array.sharding, abstract)
    return jax.jit(merge, out_shardings=placed, donate_argnums=0)(base, adapters)


def base_of(path: epath.PathLike, run: epath.PathLike) -> AdapterBase:
    """Return the base of a LoRA run that starts from the model at `path`."""
    model = describe(path)
    if hub.is_address(path):
        return AdapterBase(str(path), "", model.digest)
    place = locations.absolute(model.path)
    return AdapterBase(str(place), relative(place, run), model.digest)


def _base_path(checkpoints: Checkpoints, step: int, origin: AdapterOrigin) -> str:
    """Return the path of a run's base; UserError if it is missing, or another model is there.

    It is where it was during the training, or where it was relative to the run folder.
    """
    base, tried = origin.base, [origin.base.path]
    if base.beside:
        tried.append(str(under_run(checkpoints.run, base.beside)))
    problems = []
    for path in dict.fromkeys(tried):
        try:
            found = describe(path).digest
        except UserError as error:
            problems.append(f"that model cannot be read ({error})")
            continue
        if found == base.digest:
            return path
        problems.append(f"the model there has the digest {found}")
    raise UserError(
        f"{checkpoints.path(step)}: holds LoRA adapters for {base.path} with the digest "
        f"{base.digest}, but {problems[0]}; restore it there"
        + (f", or at {base.beside} relative to the run folder" if base.beside else "")
    )
