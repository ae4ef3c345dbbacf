"""Inputs of finished runs that have changed since: the recorded digests against those of today."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.hf import any_model, hub
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.identity import flatten
from teacherlm_jax.storage import files

_MODELS = ("model", "init_from", "teachers.cot", "teachers.fundamental", "teachers.mistake")
_DATA = ("data", "validation.data")
_FIELDS = {field.name for field in dataclasses.fields(BenchmarkConfig)}


class ChangedInputs:
    """Compares the inputs of runs with what is at their paths now; reads each input once."""

    def __init__(self) -> None:
        self._model = functools.cache(_model)
        self._data = functools.cache(lambda path: prepared.open(path).digest)

    def of(
        self, folder: epath.Path, config: Mapping[str, Any], result: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return a sentence for each input of a finished run that has changed, by config key.

        An input that is no longer at its path, and a model on the hub, cannot have been replaced
        by another one and count as unchanged.
        """
        settings = flatten(dict(config))
        sentences = {}
        for key, recorded in _recorded(folder, result).items():
            try:
                path, now = self._now(key, config, settings)
            except UserError:  # missing, moved or incomplete: nothing to take for the old input
                continue
            if now and now != recorded:
                sentences[key] = (
                    f"config.{key}={path}: its digest was {recorded} for this run and is {now} now"
                )
        return sentences

    def _now(
        self, key: str, config: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Return an input's path and its digest now; an empty digest if it cannot be known."""
        if key in _MODELS or key in _DATA:
            path = str(settings.get(key) or "")
            digest = self._model if key in _MODELS else self._data
            return path, digest(path) if path else ""
        part, _, name = key.rpartition("benchmarks.")
        return _benchmark(config["validation"] if part else config, name) if name else ("", "")


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


def _model(path: str) -> str:
    return "" if hub.is_address(path) else any_model.describe(path).digest


def _benchmark(part: Mapping[str, Any], name: str) -> tuple[str, str]:
    for settings in part.get("benchmarks", ()):
        if settings.get("name") == name:
            known = {key: value for key, value in settings.items() if key in _FIELDS}
            plain: dict[str, Any] = {
                key: value for key, value in known.items() if isinstance(value, (str, int))
            }
            config = BenchmarkConfig(**plain)
            return config.path, benchmarks.digest(config, part.get("root", ""))
    return "", ""
