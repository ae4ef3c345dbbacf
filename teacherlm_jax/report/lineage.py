"""The runs behind a run: the training of a model, the preparation of data, the annotation.

An input is looked for at its recorded path, then by its digest, so that run folders may move. Where
a digest cannot decide, because a copy has no checkpoints, the recorded outputs of the runs do.
"""

import functools
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints.adapter_origin import model_digest
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.config.train_config import CHANGEABLE
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.hf import hub
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.training_behind import NOT_SETTINGS
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.identity import belongs_to, flatten
from teacherlm_jax.storage import files, locations, store_errors
from teacherlm_jax.storage.paths import StoragePath

_CHECKPOINT = re.compile(rf"(?:.*/)?({layout.CHECKPOINTS}/[^/]+)/?")


class Lineage:
    """Finds the runs behind each of `runs`, among `runs`."""

    def __init__(self, runs: Sequence[RunRecord]):
        done = [run for run in runs if run.finished]
        self._trainings = _Origins([run for run in done if run.verb == "train"], _own_models)
        self._preparations = _Origins([run for run in runs if run.verb == "prepare"], _manifests)
        self._annotations = _Origins([run for run in runs if run.verb == "annotate"], _no_digests)

    def training_of(self, evaluation: RunRecord) -> RunRecord | None:
        """Return the finished training run whose model was evaluated; None if it is not known."""
        result = evaluation.result
        changed = "model" in evaluation.changes
        return self._trainings.find(result["model"], result.get("digest", ""), changed)

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
        return any(self._annotations.find(path) for path in _sources(preparation))

    def data_of(self, training: RunRecord) -> epath.Path | None:
        """Return the folder of a training run's data, which may have moved; None if not known."""
        path = training.config.get("data", "")
        if not path:
            return None
        preparation = self._preparation_of(training)
        return preparation.path / StoragePath(path).name if preparation else StoragePath(path)

    def _preparation_of(self, training: RunRecord) -> RunRecord | None:
        path, digest = training.config.get("data", ""), _digest(training, "data")
        return self._preparations.find(path, digest, "data" in training.changes)

    def _chain(self, training: RunRecord) -> Iterator[RunRecord]:
        """Yield a training run and those that it started from, each once, the latest first."""
        seen: list[epath.Path] = []
        run: RunRecord | None = training
        while run is not None and run.path not in seen:
            seen.append(run.path)
            yield run
            start = str(run.config.get("init_from") or "")
            changed = "init_from" in run.changes
            run = self._trainings.find(start, _digest(run, "init_from"), changed, seen)


class _Origins:
    """Runs by what they wrote; `digests_of` returns the digests of what is in a run folder."""

    def __init__(
        self, runs: Sequence[RunRecord], digests_of: Callable[[RunRecord], Collection[str]]
    ):
        self._runs, self._digests_of = runs, functools.cache(lambda at: digests_of(runs[at]))

    def find(
        self,
        path: epath.PathLike,
        digest: str = "",
        changed: bool = False,
        without: Sequence[epath.Path] = (),
    ) -> RunRecord | None:
        """Return the run that wrote an input; None if it is not known.

        Args:
            path: recorded path of the input.
            digest: its recorded digest; empty: none.
            changed: whether something else is at the path now.
            without: folders of runs that did not write it.
        """
        name = str(path)
        if not name or hub.is_address(name) or is_endpoint(name):
            return None
        whole = locations.absolute(path)
        known = {at: run for at, run in enumerate(self._runs) if run.path not in without}
        here = next((run for run in known.values() if _is_inside(whole, run.path)), None)
        if here is not None and not changed:
            return here
        same = (run for at, run in known.items() if digest and digest in self._digests_of(at))
        found = next(same, here)
        return found or self._by_output(whole, digest, known)

    def _by_output(
        self, whole: epath.Path, digest: str, known: dict[int, RunRecord]
    ) -> RunRecord | None:
        """Return the only run whose recorded output contains a path and no digest rules out."""
        outputs = {
            at: str(run.config.get("output") or "")
            for at, run in known.items()
            if not (digest and self._digests_of(at))
        }
        found = [at for at, output in outputs.items() if output and _is_inside(whole, output)]
        return known[found[0]] if len(found) == 1 else None


def place_in_run(model: str) -> str:
    """Return the checkpoint that a model path names, as a path in its run; "." for the last one."""
    checkpoint = _CHECKPOINT.fullmatch(model)
    return checkpoint[1] if checkpoint else "."


def _is_inside(whole: epath.Path, folder: epath.PathLike) -> bool:
    return whole.is_relative_to(locations.absolute(folder))


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


def _own_models(training: RunRecord) -> set[str]:
    """Return the digests of the checkpoints of a run, without that of the model it started from."""
    if not (training.path / layout.CHECKPOINTS).exists():
        return set()
    checkpoints = Checkpoints(training.path)
    digests = set()
    for step in checkpoints.steps():
        try:
            digests.add(model_digest(checkpoints.meta(step)))
        except (UserError, StoreError) as error:  # damaged, or not for this account to read
            if isinstance(error, StoreError) and not store_errors.is_denied(error):
                raise
    checkpoints.close()
    return digests - {_digest(training, "init_from")}


def _manifests(preparation: RunRecord) -> set[str]:
    """Return the digests of the mixtures of a `prepare` run."""
    mixtures = preparation.result.get("mixtures", {})
    manifests = (preparation.path / name / layout.MANIFEST for name in mixtures)
    return {files.file_digest(path) for path in manifests if path.exists()}


def _no_digests(run: RunRecord) -> set[str]:
    return set()


def _sources(preparation: RunRecord) -> list[epath.Path]:
    root = preparation.config.get("root", "")
    return [StoragePath(root, source["path"]) for source in preparation.config.get("sources", ())]
