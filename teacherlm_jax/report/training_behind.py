"""The training behind an evaluated model: its run, its cost, and what it shares with others."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.config import BenchmarkConfig, TrainConfig, ValidationConfig
from teacherlm_jax.config.fields import path_keys
from teacherlm_jax.config.train_config import CHANGEABLE
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.identity import belongs_to, flatten
from teacherlm_jax.storage import files, locations
from teacherlm_jax.storage.paths import StoragePath

_SOME_TRAINING = TrainConfig(validation=ValidationConfig(benchmarks=(BenchmarkConfig(),)))
_NOT_SETTINGS = {
    *("seed", "stands_for"),
    *(key.rpartition(".")[2] for key in path_keys(_SOME_TRAINING)),
}


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """Cost of one training run, or its mean over several; earlier runs are not included.

    Attributes:
        tokens: tokens that the run read, without padding.
        steps: its steps.
        flops: model FLOPs of its forward and backward passes.
    """

    tokens: float
    steps: float
    flops: float


def training_of(evaluation: RunRecord, runs: Sequence[RunRecord]) -> RunRecord | None:
    """Return the finished training run whose model was evaluated; None if it is not among `runs`.

    It cannot be found any more once the folders have moved.
    """
    model = locations.absolute(evaluation.result["model"])
    return next((run for run in _trainings(runs) if _is_inside(model, run.path)), None)


def place_in_run(evaluation: RunRecord, training: RunRecord) -> str:
    """Return the evaluated checkpoint as a path in its run; "." for the last one."""
    model = locations.absolute(evaluation.result["model"])
    return str(model.relative_to(locations.absolute(training.path)))


def cost(training: RunRecord) -> TrainingCost:
    """Return the cost of a training run: FLOPs by its summary.json, or 6 · parameters · tokens."""
    tokens, summary = training.result["tokens"], training.path / layout.SUMMARY
    recorded = files.read_json(summary) if summary.exists() else {}
    per_token = recorded.get("model_flops_per_token") or 6 * training.result.get("parameters", 0)
    return TrainingCost(tokens, training.result["step"], per_token * tokens)


def mean_cost(costs: Sequence[TrainingCost]) -> TrainingCost | None:
    """Return the mean of several costs; None if there is none."""
    if not costs:
        return None
    return TrainingCost(
        *(sum(getattr(one, field.name) for one in costs) / len(costs)
          for field in dataclasses.fields(TrainingCost))
    )  # fmt: skip


def recipe(training: RunRecord, runs: Sequence[RunRecord]) -> str:
    """Return what a training run shares with those that differ only in their seeds.

    That is its settings, without paths and without those that a resumed run may change, and the
    digests of its inputs. A model of `runs` that it started from counts by its own recipe, so that
    whole chains of stages may differ in seeds.
    """
    settings = {
        key: value
        for key, value in flatten(training.config).items()
        if key.rpartition(".")[2].partition("[")[0] not in _NOT_SETTINGS
        and not any(belongs_to(key, part) for part in CHANGEABLE)
    }
    inputs = _recorded_inputs(training)
    earlier = _earlier(training, runs)
    if earlier is not None:
        start = locations.absolute(training.config["init_from"])
        inside = str(start.relative_to(locations.absolute(earlier.path)))
        inputs["init_from"] = f"{inside} of {recipe(earlier, runs)}"
    return json.dumps([settings, inputs], sort_keys=True)


def seeds(training: RunRecord, runs: Sequence[RunRecord]) -> tuple[Any, ...]:
    """Return the seed of a training run, and those of the runs that it started from."""
    own = training.config.get("seed", str(training.path))
    earlier = _earlier(training, runs)
    return (own,) if earlier is None else (own, *seeds(earlier, runs))


def _earlier(training: RunRecord, runs: Sequence[RunRecord]) -> RunRecord | None:
    """Return the run whose model a training run started from; None if it is not among `runs`."""
    initial = str(training.config.get("init_from") or "")
    others = (run for run in _trainings(runs) if run.path != training.path)
    start = locations.absolute(initial)
    return next((run for run in others if initial and _is_inside(start, run.path)), None)


def _recorded_inputs(training: RunRecord) -> dict[str, str]:
    """Return the digests of a run's inputs; their paths if it recorded none."""
    if (training.path / layout.INPUTS).exists():
        return dict(files.read_json(training.path / layout.INPUTS))
    return {key: str(training.config.get(key, "")) for key in ("data", "init_from")}


def students(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the students among the training runs.

    A training run is a student if its data was prepared from files in the folder of an annotation
    run. This cannot be seen any more once the folders have moved.
    """
    annotated = [run.path for run in runs if run.verb == "annotate"]
    prepared = [
        run.path
        for run in runs
        if run.verb == "prepare" and any(is_in_any(path, annotated) for path in _sources(run))
    ]
    return [
        run
        for run in runs
        if run.verb == "train" and is_in_any(run.config.get("data", ""), prepared)
    ]


def is_in_any(path: epath.PathLike, folders: Sequence[epath.Path]) -> bool:
    """Return whether a path is inside one of the folders, or is one of them."""
    whole = locations.absolute(path)
    return any(_is_inside(whole, folder) for folder in folders)


def _is_inside(whole: epath.Path, folder: epath.Path) -> bool:
    return whole.is_relative_to(locations.absolute(folder))


def _sources(run: RunRecord) -> list[epath.Path]:
    root = run.config.get("root", "")
    return [StoragePath(root, source["path"]) for source in run.config.get("sources", ())]


def _trainings(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if run.verb == "train" and run.finished]


def settings_of(evaluation: RunRecord, benchmark: str) -> Mapping[str, Any]:
    """Return the settings of an evaluation that change the answers to a question."""
    config = evaluation.config
    ignored = {"name", "limit", "limit_by", *_NOT_SETTINGS}
    named = (one for one in config.get("benchmarks", ()) if one.get("name") == benchmark)
    own: Mapping[str, Any] = next(named, {})
    scored = {key: value for key, value in own.items() if key not in ignored}
    return scored | {key: config.get(key) for key in ("dtype", "max_length")}
