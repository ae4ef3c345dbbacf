"""The runs behind a run: the training of a model, the preparation of data, the annotation.

`origins` says how an input is found, also after run folders have moved.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints.adapter_origin import model_digest
from teacherlm_jax.checkpoints.saved_model import BEST
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config.train_config import CHANGEABLE
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.origins import Origins, Outputs, RecordedInput
from teacherlm_jax.report.training_behind import NOT_SETTINGS
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.identity import belongs_to, flatten
from teacherlm_jax.storage import files, locations, store_errors
from teacherlm_jax.storage.paths import StoragePath

_CHECKPOINT = re.compile(
    rf"(?:(?P<run>.+)/)?(?P<place>{layout.CHECKPOINTS}/(?:\d+|{BEST}))/?", re.DOTALL
)


class Lineage:
    """Finds the runs behind each of `runs`, among `runs`; reads what they wrote at most once.

    Attributes:
        runs: the runs, in the given order.
    """

    def __init__(self, runs: Sequence[RunRecord]):
        self.runs = tuple(runs)
        done = [run for run in runs if run.finished]
        self._trainings = Origins([run for run in done if run.verb == "train"], _own_models)
        self._preparations = Origins([run for run in runs if run.verb == "prepare"], _manifests)
        self._annotations = Origins([run for run in runs if run.verb == "annotate"], _no_outputs)

    def training_of(self, evaluation: RunRecord) -> RunRecord | None:
        """Return the finished training run whose model was evaluated; None if it is not known."""
        return self._trainings.find(_evaluated_model(evaluation))

    def why_not_found(self, evaluation: RunRecord) -> str:
        """Return in words that the training of an evaluated model was not found, and why."""
        model, reasons = _evaluated_model(evaluation), ""
        if parts := self._trainings.why_not_found(model):
            reasons = f" ({'; '.join(parts)})"
        where = f"neither at this path nor by digest{reasons}"
        return f"the training of config.model={model.path} was not found, {where}"

    def unreadable(self) -> list[str]:
        """Return a sentence for each checkpoint or manifest that a search could not read."""
        return [*self._trainings.unreadable(), *self._preparations.unreadable()]

    def label(self, evaluation: RunRecord, root: epath.PathLike) -> str:
        """Return how the evaluated model is shown: by its place below `root`, if it is there."""
        training = self.training_of(evaluation)
        path = evaluation.result["model"]
        if training is not None:
            place = place_in_run(path)
            path = str(training.path if place == "." else training.path / place)
        return evaluation.input_label("model", path, root)

    def recipe(self, training: RunRecord) -> str:
        """Return what a training run shares with those that differ only in their seeds.

        That is its settings, without paths and without those that a resumed run may change, and
        the digests of its inputs. A run that it started from counts by its own recipe, so that
        whole chains of stages may differ in seeds.
        """
        recipes = []
        chain = list(self._chain(training))
        for run, earlier in zip(chain, [*chain[1:], None], strict=True):
            inputs = _recorded_inputs(run)
            if earlier is not None:
                inputs["init_from"] = place_in_run(run.config["init_from"])
            recipes.append([_settings(run), inputs])
        return json.dumps(recipes, sort_keys=True)

    def seeds(self, training: RunRecord) -> tuple[Any, ...]:
        """Return the seed of a training run, and those of the runs that it started from."""
        return tuple(run.config.get("seed", str(run.path)) for run in self._chain(training))

    def is_student(self, training: RunRecord) -> bool:
        """Return whether the data of a training run was prepared from an annotation run."""
        preparation = self._preparation_of(training)
        if preparation is None:
            return False
        return any(self._is_of_annotation(path) for path in _sources(preparation))

    def data_of(self, training: RunRecord) -> epath.Path | None:
        """Return the folder of a training run's data, which may have moved; None if not known."""
        path = training.config.get("data", "")
        if not path:
            return None
        changed = "data" in training.changes
        if not changed and files.exists(StoragePath(path) / layout.MANIFEST):
            return StoragePath(path)
        preparation = self._preparation_of(training)
        if preparation is None:
            return None if changed else StoragePath(path)
        mixture = self._preparations.place_of(preparation, _digest(training, "data"))
        return preparation.path / (mixture or StoragePath(path).name)

    def _is_of_annotation(self, source: epath.Path) -> bool:
        """Return whether a path or a glob names files of an annotation run."""
        if self._annotations.find(RecordedInput(source)) is not None:
            return True
        return self._annotations.any_matches(source, layout.SAMPLES)

    def _preparation_of(self, training: RunRecord) -> RunRecord | None:
        path, digest = training.config.get("data", ""), _digest(training, "data")
        return self._preparations.find(RecordedInput(path, digest, "data" in training.changes))

    def _chain(self, training: RunRecord) -> Iterator[RunRecord]:
        """Yield a training run and those that it started from, each once, the latest first."""
        seen: list[epath.Path] = []
        run: RunRecord | None = training
        while run is not None and run.path not in seen:
            seen.append(run.path)
            yield run
            run = self._trainings.find(_start(run), seen)


def place_in_run(model: str) -> str:
    """Return the checkpoint that a model path names, as a path in its run; "." for the last one."""
    checkpoint = _CHECKPOINT.fullmatch(model)
    return checkpoint["place"] if checkpoint else "."


def folder_of(model: str) -> str:
    """Return the folder that a model path names, without the part of `place_in_run`."""
    checkpoint = _CHECKPOINT.fullmatch(model)
    return (checkpoint["run"] or ".") if checkpoint else model


def _evaluated_model(evaluation: RunRecord) -> RecordedInput:
    path, step = evaluation.result["model"], evaluation.result.get("step")
    place = f"{layout.CHECKPOINTS}/{step}" if step else _place_of_step(path)
    changed = "model" in evaluation.changes
    return RecordedInput(path, evaluation.result.get("digest", ""), changed, place)


def _start(training: RunRecord) -> RecordedInput:
    """Return the model that a training run started from; its path may be empty."""
    path, digest = str(training.config.get("init_from") or ""), _digest(training, "init_from")
    return RecordedInput(path, digest, "init_from" in training.changes, _place_of_step(path))


def _place_of_step(model: str) -> str:
    """Return the checkpoint that a model path names by its step; empty if it names none."""
    place = place_in_run(model)
    return place if place[-1].isdigit() else ""


def _settings(training: RunRecord) -> dict[str, Any]:
    return {
        key: value
        for key, value in flatten(training.config).items()
        if key.rpartition(".")[2].partition("[")[0] not in NOT_SETTINGS
        and not any(belongs_to(key, part) for part in CHANGEABLE)
    }


def _digest(training: RunRecord, key: str) -> str:
    """Return the recorded digest of an input; empty if there is none."""
    path = training.path / layout.INPUTS
    return files.read_json(path).get(key, "") if path.exists() else ""


def _recorded_inputs(training: RunRecord) -> dict[str, str]:
    """Return the digests of a run's inputs; their paths if it recorded none."""
    if (training.path / layout.INPUTS).exists():
        return dict(files.read_json(training.path / layout.INPUTS))
    return {key: str(training.config.get(key, "")) for key in ("data", "init_from")}


def _own_models(training: RunRecord) -> Outputs:
    """Return the checkpoints of a run, without a copy of the model it started from."""
    folder = training.path / layout.CHECKPOINTS
    digests, unreadable = {}, {}
    try:
        with locations.refusing(folder):
            if not folder.exists():
                return Outputs()
            checkpoints = Checkpoints(training.path)
            steps = checkpoints.steps()
    except (UserError, StoreError) as error:
        return Outputs(unreadable={layout.CHECKPOINTS: _reason(error)})
    for step in steps:
        place = f"{layout.CHECKPOINTS}/{step}"
        try:
            digests[place] = model_digest(checkpoints.meta(step))
        except (UserError, StoreError) as error:
            unreadable[place] = _reason(error)
    checkpoints.close()
    start = _digest(training, "init_from")
    own = {place: digest for place, digest in digests.items() if digest != start}
    return Outputs(own, unreadable)


def _reason(error: UserError | StoreError) -> str:
    """Return why an output is damaged or not for this account to read; raise other errors."""
    if isinstance(error, StoreError) and not store_errors.is_denied(error):
        raise error
    return str(error)


def _manifests(preparation: RunRecord) -> Outputs:
    """Return the mixtures of a `prepare` run by the digests of their manifests."""
    mixtures = preparation.result.get("mixtures", {})
    digests, unreadable = {}, {}
    for name in mixtures:
        try:
            path = preparation.path / name / layout.MANIFEST
            if files.exists(path):
                digests[name] = files.file_digest(path)
        except (UserError, StoreError) as error:
            unreadable[name] = _reason(error)
    return Outputs(digests, unreadable)


def _no_outputs(run: RunRecord) -> Outputs:
    return Outputs()


def _sources(preparation: RunRecord) -> list[epath.Path]:
    root = preparation.config.get("root", "")
    return [StoragePath(root, source["path"]) for source in preparation.config.get("sources", ())]
