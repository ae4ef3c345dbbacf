"""Paths of models: run folders, single checkpoints, Hugging Face folders and the hub."""

import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.config.names import HUB
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import hub, model_folder
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.paths import StoragePath

_STEP = re.compile(rf"\d+|{saved_model.BEST}")
_WRITE_MODELS = ("train", "convert")  # verbs whose run folders get checkpoints


def resolve(path: epath.PathLike) -> tuple[epath.Path, bool]:
    """Return the folder of a model by any path, and whether it is a run folder or a checkpoint.

    See `any_model.describe` for the paths. Otherwise it is a Hugging Face folder, on this machine
    or in a bucket; a model on the hub is downloaded. A named checkpoint need not exist.

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
    verb = keys.get("verb", "")
    if (folder / layout.CHECKPOINTS).is_dir() or verb in _WRITE_MODELS:
        return
    if verb == "prepare" or (folder / layout.MANIFEST).exists():
        data = _first_mixture(path, folder)
        raise UserError(
            f"{path}: prepared data, and no model; train one with `teacherlm train "
            f"--config=FILE.py --config.data={data}`, and name its run folder here"
        )
    if verb:
        raise UserError(
            f"{path}: a run folder of `{verb}`, which has no checkpoints of its own; expected the "
            f"run folder of {' or '.join(f'`{name}`' for name in _WRITE_MODELS)}"
        )
    problem = "not a model" if folder.is_dir() else "no such folder"
    raise UserError(
        f"{path}: {problem}; expected a run folder with {layout.CHECKPOINTS}/, one checkpoint "
        f"such as RUN/{layout.CHECKPOINTS}/100 or RUN/{layout.CHECKPOINTS}/{saved_model.BEST}, a "
        f"Hugging Face folder with config.json and weights, or {HUB}org/name"
    )


def _first_mixture(path: epath.PathLike, folder: epath.Path) -> str:
    """Return the path of a prepared mixture, or of the first one in a run folder of `prepare`."""
    if (folder / layout.MANIFEST).exists():
        return str(path)
    mixtures = sorted(file.parent.name for file in folder.glob(f"*/{layout.MANIFEST}"))
    return f"{path}/{mixtures[0] if mixtures else 'MIXTURE'}"
