"""Inputs of finished runs that have changed since: the recorded digests against those of today."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.hf import any_model, hub
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.identity import flatten
from teacherlm_jax.storage import files, locations, store_errors

REMEDY = "repeat the run's command with another config.output, or restore the earlier input"

_MODELS = ("model", "init_from", "teachers.cot", "teachers.fundamental", "teachers.mistake")
_DATA = ("data", "validation.data")
_MANIFESTS = "train_manifest["  # begins the keys of any number of mixtures
_FIELDS = {field.name for field in dataclasses.fields(BenchmarkConfig)}


class ChangedInputs:
    """Compares the inputs of runs with what is at their paths now; reads each input once."""

    def __init__(self) -> None:
        self._model = functools.cache(lambda path: any_model.describe(path).digest)
        self._data = functools.cache(prepared.digest)

    def compare(
        self, folder: epath.Path, config: Mapping[str, Any], result: Mapping[str, Any]
    ) -> "InputComparison":
        """Compare the inputs of a finished run with those that it recorded.

        An input that is no longer at its path, and a model on the hub or on a server, count as
        unchanged: nothing here was replaced. Raises StoreError if a store does not answer; inputs
        that this account may not read are not compared.
        """
        settings = flatten(dict(config))
        comparison = InputComparison()
        for key, recorded in _recorded(folder, result).items():
            root, path, digest = self._input(key, config, settings)
            named = f"config.{key}={path}"
            try:
                if (
                    not path
                    or hub.is_address(path)
                    or is_endpoint(path)
                    or not locations.any_exists(root, path)
                ):
                    continue
                now = digest()
            except (UserError, StoreError) as error:
                if isinstance(error, StoreError) and not store_errors.is_denied(error):
                    raise
                comparison.not_compared[key] = f"{named}: cannot be compared: {error}"
                continue
            if now != recorded:
                comparison.changed[key] = (
                    f"{named}: its digest was {recorded} for this run and is {now} now"
                )
        return comparison

    def _input(
        self, key: str, config: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[str, str, Callable[[], str]]:
        """Return an input's root, its path below it, and a function that computes its digest.

        The path is empty if the config has no such input.
        """
        if key in _MODELS or key in _DATA or key.startswith(_MANIFESTS):
            path = str(settings.get(key) or "")
            return "", path, functools.partial(self._model if key in _MODELS else self._data, path)
        part, _, name = key.rpartition("benchmarks.")
        return _benchmark(config["validation"] if part else config, name)


@dataclasses.dataclass(frozen=True)
class InputComparison:
    """The inputs of a finished run that are not, or may not be, as they were.

    Attributes:
        changed: a sentence with both digests for each input that has changed, by config key.
        not_compared: a sentence with the reason for each input that cannot be read, by config key.
    """

    changed: dict[str, str] = dataclasses.field(default_factory=dict)
    not_compared: dict[str, str] = dataclasses.field(default_factory=dict)


def _recorded(folder: epath.Path, result: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests that a run recorded by config key, in its inputs or in its result."""
    digests = {}
    if isinstance(result.get("digest"), str):
        digests["model"] = result["digest"]
    for kind, figures in result.get("kinds", {}).items():
        if isinstance(figures.get("model_digest"), str):
            digests[f"teachers.{kind}"] = figures["model_digest"]
    if (folder / layout.INPUTS).exists():
        digests |= files.read_json(folder / layout.INPUTS)
    return digests


def _benchmark(part: Mapping[str, Any], name: str) -> tuple[str, str, Callable[[], str]]:
    for settings in part.get("benchmarks", ()):
        if settings.get("name") == name:
            known = {key: value for key, value in settings.items() if key in _FIELDS}
            plain: dict[str, Any] = {
                key: value for key, value in known.items() if isinstance(value, (str, int))
            }
            config, root = BenchmarkConfig(**plain), part.get("root", "")
            return root, config.path, functools.partial(benchmarks.digest, config, root)
    return "", "", str
