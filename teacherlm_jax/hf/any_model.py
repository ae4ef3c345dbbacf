"""Models by any path: run folders, single checkpoints, Hugging Face folders and the hub."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import capacity
from teacherlm_jax.checkpoints import fingerprint, saved_model
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import hub, model_folder
from teacherlm_jax.models import registry
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_STEP = re.compile(rf"\d+|{saved_model.BEST}")


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """A model whose parameters have not been loaded.

    Attributes:
        path: the checkpoint or Hugging Face folder that was meant. It stays the same model when a
            run writes newer checkpoints or a model on the hub gets a new revision.
        vocabulary: of its tokens.
        config: its shape, `vocab_size` resolved.
        step: number of updates; 0 for a Hugging Face folder.
    """

    path: epath.Path
    vocabulary: Vocabulary
    config: ModelConfig
    step: int
    _make_digest: Callable[[], str]

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` that identifies the parameters; the same as that of the loaded model.

        For a checkpoint it is recorded with the parameters. For a Hugging Face folder it is
        computed from the weight files, which takes as long as reading them.
        """
        return self._make_digest()


def resolve(path: epath.PathLike) -> tuple[epath.Path, bool]:
    """Return the folder of a model by any path, and whether it is a run folder or a checkpoint.

    See `describe` for the paths. Otherwise it is a Hugging Face folder, on this machine or in a
    bucket; a model on the hub is downloaded. A named checkpoint need not exist.

    Raises UserError when `path` names neither kind of model.
    """
    folder = StoragePath(hub.download(str(path)) if hub.is_address(path) else path)
    keys = model_folder.read_config(folder)
    if not model_folder.is_model_folder(folder, keys):
        _require_checkpoint(path, folder, keys)
        return folder, True
    return folder, False


def _require_checkpoint(path: epath.PathLike, folder: epath.Path, keys: Mapping[str, Any]) -> None:
    """Raise UserError unless `folder` is a run folder with checkpoints, or names one of them.

    Args:
        path: the path that the user gave.
        folder: the folder of that path.
        keys: the content of its config.json.
    """
    full = locations.absolute(folder)  # "0" and "." have names and parents, too
    if full.parent.name == layout.CHECKPOINTS and _STEP.fullmatch(full.name):
        return
    if (folder / layout.CHECKPOINTS).is_dir() or "verb" in keys:
        return
    problem = "not a model" if folder.is_dir() else "no such folder"
    raise UserError(
        f"{path}: {problem}; expected a run folder with {layout.CHECKPOINTS}/, one checkpoint "
        f"such as RUN/{layout.CHECKPOINTS}/100 or RUN/{layout.CHECKPOINTS}/{saved_model.BEST}, a "
        f"Hugging Face folder with config.json and weights, or {hub.SCHEME}org/name"
    )


def describe(path: epath.PathLike) -> ModelDescription:
    """Describe a model without loading its parameters.

    Args:
        path: a run folder (its newest checkpoint), `RUN/checkpoints/STEP`,
            `RUN/checkpoints/best`, a Hugging Face folder, or `hf://org/name[@revision]`.

    Raises UserError when there is no model, or it is damaged or incomplete.
    """
    folder, is_checkpoint = resolve(path)
    if not is_checkpoint:
        opened = model_folder.open_model(folder)
        return ModelDescription(folder, opened.vocabulary, opened.config, 0, lambda: opened.digest)
    checkpoints, step = saved_model.open_checkpoint(locations.absolute(folder))
    meta = checkpoints.meta(step)
    vocabulary = saved_model.load_vocabulary(checkpoints.run, meta["vocabulary"])
    checkpoints.close()
    config, parameters = ModelConfig(**meta["model"]), meta["parameters"]
    return ModelDescription(
        checkpoints.path(step), vocabulary, config, step, lambda: fingerprint.digest(parameters)
    )


def load(path: epath.PathLike, mesh: Mesh, *, dtype: str = "", attention: str = "") -> LoadedModel:
    """Load a model with its parameters on `mesh`.

    Args:
        path: as for `describe`.
        mesh: devices that hold the parameters.
        dtype: compute dtype; empty: the one it was trained with, bfloat16 for a Hugging Face
            folder. Parameters outside norms are stored in it if that makes them smaller.
        attention: attention implementation; empty: the one it was trained with.

    Raises UserError when there is no model, when it is damaged or incomplete, or when its
    parameters exceed the memory of a device.
    """
    folder, is_checkpoint = resolve(path)
    if is_checkpoint:
        return saved_model.load_model(
            locations.absolute(folder), mesh, dtype=dtype, attention=attention
        )
    opened = model_folder.open_model(folder)
    config = dataclasses.replace(
        opened.config,
        dtype=dtype or opened.config.dtype,
        attention=attention or opened.config.attention,
    )
    graph, abstract = registry.abstract(config, mesh)
    abstract = registry.for_inference(config, abstract)
    capacity.refuse_too_large(str(path), abstract, mesh, convertible=True)
    model = nnx.merge(graph, opened.parameters(abstract))
    return LoadedModel(model, opened.vocabulary, config, 0, opened.digest)
