"""The models and datasets of the paper that runs stand for, as their configs say.

The key `stands_for` of a run counts. An evaluation without it stands for what the training run of
its model stands for. Without a key, a training run stands for the only model of the paper that has
the shape of its model and its mixture, if there is exactly one; an evaluation of a published model
stands for that model before training.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.config import paper_models
from teacherlm_jax.data import recipes
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.lineage import Lineage, folder_of
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, locations
from teacherlm_jax.storage.paths import StoragePath

_KEY = f"config.{paper_models.KEY}"
_SHAPE = ("family", "layers", "width", "heads")
_HUB = re.compile(r"hf://(?P<model>[^@]+)(@.*)?")
# Published models by their address on the Hugging Face Hub.
_PUBLISHED = {
    **{f"bigscience/{name}": name for name in paper_models.STUDENTS if "bloom" in name},
    **{f"facebook/{name}": name for name in paper_models.STUDENTS if "opt" in name},
}


@dataclasses.dataclass(frozen=True)
class Standing:
    """The part of a run in the paper's tables.

    Attributes:
        run: the run.
        name: one of `paper_models`; empty: the run stands for nothing.
        reason: how that is known, or why it is not.
        manifest: the manifest of a training's data; empty if it cannot be read.
        training: of an evaluation, the run folder of the model's training, or the address of a
            published model; equal for all checkpoints of one training run.
    """

    run: RunRecord
    name: str
    reason: str
    manifest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: str = ""


def of_runs(lineage: Lineage) -> list[Standing]:
    """Return the standings of all finished runs that can have one, in the order of the runs."""
    trained = {locations.absolute(run.path): run for run in lineage.runs if run.verb == "train"}
    standings = []
    for run in lineage.runs:
        if not run.finished:
            continue
        if run.verb == "train":
            manifest = _manifest(lineage.data_of(run))
            standings.append(Standing(run, *_of_training(run.config, manifest), manifest))
        elif run.verb == "evaluate":
            name, reason = _of_evaluation(run, trained, lineage)
            standings.append(Standing(run, name, reason, training=_training(run, lineage)))
        elif run.verb == "annotate":
            standings.append(Standing(run, *_of_annotation(run.config)))
    return standings


def _of_key(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name and the reason that the key of a config gives; None if it is empty."""
    name = config.get(paper_models.KEY, "")
    if not name:
        return None
    none = name == paper_models.NONE
    return "" if none else name, f"{_KEY}={name}" if none else _KEY


def _of_evaluation(
    run: RunRecord, trained: Mapping[epath.Path, RunRecord], lineage: Lineage
) -> tuple[str, str]:
    if known := _of_key(run.config):
        return known
    path = run.result["model"]
    if published := _HUB.fullmatch(path):
        name = _PUBLISHED.get(published["model"])
        if name:
            return f"student/{name}/pretrained", "the published model"
        return "", f"{path} is not a model that the paper's students start from"
    training = lineage.training_of(run)
    if training is None and "model" in run.changes:
        return "", lineage.why_not_found(run)
    config = training.config if training else _training_behind(path, trained)
    if config is None:
        return "", f"config.model={path} is not a run folder of `train` that can be read"
    data = lineage.data_of(training) if training else config.get("data")
    name, reason = _of_training(config, _manifest(data))
    return name, f"its training run: {reason}"


def _training(evaluation: RunRecord, lineage: Lineage) -> str:
    """Return what identifies the training of an evaluated model: see `Standing.training`."""
    if training := lineage.training_of(evaluation):
        return str(locations.absolute(training.path))
    model = evaluation.result["model"]
    if published := _HUB.fullmatch(model):
        return f"hf://{published['model']}"
    if "model" in evaluation.changes:  # of a run that is no longer at the path
        return f"{model} of {evaluation.result.get('digest', '')}"
    return str(locations.absolute(folder_of(model)))


def _training_behind(
    model: str, trained: Mapping[epath.Path, RunRecord]
) -> Mapping[str, Any] | None:
    """Return the config of the training run that wrote a model; None if it cannot be read."""
    folder = locations.absolute(folder_of(model))
    if folder in trained:
        return trained[folder].config
    content = _read(folder / layout.CONFIG)
    return content.get("config") if content.get("verb") == "train" else None


def _of_annotation(config: Mapping[str, Any]) -> tuple[str, str]:
    if known := _of_key(config):
        return known
    format = config.get("source", {}).get("format", "")
    name = f"data/{format}"
    if name in paper_models.DATASETS:
        return name, "config.source.format"
    return "", f"no dataset in the paper has config.source.format={format}; set {_KEY}"


def _of_training(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[str, str]:
    if known := _of_key(config):
        return known
    shapes = _shapes_of(config)
    if not shapes:
        return "", f"no model in the paper has its shape ({_shape_in_words(config)})"
    mixture = manifest.get("mixture", "")
    if not mixture:
        path = config.get("data", "")
        return "", f"no manifest of its data at config.data={path}, nor by digest; set {_KEY}"
    names = _candidates(mixture, shapes, config.get("init_from", ""))
    if len(names) == 1:
        return names[0], f"mixture {mixture} and shape"
    if not names:
        return "", f"no model in the paper has its shape and mixture {mixture}; set {_KEY}"
    return "", f"may be {' or '.join(names[:4])}{' …' if len(names) > 4 else ''}; set {_KEY}"


def _candidates(mixture: str, shapes: Sequence[str], base: str) -> list[str]:
    """Return the models of the paper that have one of the shapes and were trained on a mixture."""
    if published := _HUB.fullmatch(base):
        start = _PUBLISHED.get(published["model"], "")
        shapes = [shape for shape in shapes if shape == start or not start]
    role, _, part = mixture.partition("_")
    if mixture not in recipes.RECIPES:
        return []
    names = []
    for name in paper_models.TRAINED:
        kind, model, *training = name.split("/")
        if kind != role:
            continue
        if role == "teacher":
            fits = f"bloom-{model}" in shapes and training == [part]
        else:
            shape = model.removesuffix(paper_models.MULTI_FIRST)
            fits = shape in shapes and training[1] == part
        names += [name] if fits else []
    return names


def _shapes_of(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the published models that have the shape of a training's model."""
    model = config.get("model", {})
    return [
        name
        for name, shape in registry.SHAPES.items()
        if "tiny" not in name
        and all(model.get(key) == getattr(shape, key) for key in _SHAPE)
        and (name in paper_models.STUDENTS or name.removeprefix("bloom-") in paper_models.SIZES)
    ]


def _shape_in_words(config: Mapping[str, Any]) -> str:
    model = config.get("model", {})
    family, layers, width, _ = (model.get(key, "?") for key in _SHAPE)
    return f"{family}, {layers} layers of width {width}"


def _manifest(folder: epath.PathLike | None) -> dict[str, Any]:
    """Return the manifest of a folder of data; empty if there is none that can be read."""
    return _read(StoragePath(folder) / layout.MANIFEST) if folder else {}


def _read(path: epath.Path) -> dict[str, Any]:
    """Return the content of a JSON file; empty if it does not exist or holds no object."""
    if not files.exists(path):
        return {}
    try:
        content = files.read_json(path)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}
