"""Inputs of a mixture, by which a later run recognizes that it has been prepared already."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import MixtureConfig, PrepareConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.identity import flatten
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.mixtures import used_sources
from teacherlm_jax.tasks.surveyed_source import SurveyedSource
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_SHOWN = 3  # changed inputs, in a message


def mixture_inputs(
    config: PrepareConfig,
    mixture: MixtureConfig,
    sources: Sequence[SurveyedSource],
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Return everything that decides a mixture's bytes, as plain JSON values.

    Settings and digests, but no paths: raw files may be moved and renamed.
    """
    used = used_sources(mixture, sources)
    values = {
        "mixture": dataclasses.asdict(mixture),
        "sources": {source.config.name: source.identity for source in used},
        "vocabulary": {"size": vocabulary.size, "digest": vocabulary.digest},
        "prompt_version": prompts.PROMPT_VERSION,
        "length": config.length,
        "max_tokens": config.max_tokens or config.length,
        "rows_per_shard": config.rows_per_shard,
        "seed": config.seed,
    }
    return json.loads(json.dumps(values))


def finished_manifest(folder: Path, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a mixture that was prepared from `inputs`; None if it is not there.

    Raises UserError if the folder was prepared from other inputs or not written by `prepare`.
    """
    if not folder.exists():
        return None
    if not (folder / layout.MANIFEST).is_file():
        raise UserError(
            f"{folder}: exists but was not written by `prepare` (it has no {layout.MANIFEST}); "
            "remove it, or give the mixture another name"
        )
    manifest = files.read_json(folder / layout.MANIFEST)
    changes = _changes(flatten(manifest["inputs"]), flatten(dict(inputs)))
    if changes:
        rest = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        raise UserError(
            f"{folder}: was prepared from other inputs ({'; '.join(changes[:_SHOWN])}{rest}); "
            "choose another config.output, or remove the folder to prepare it again"
        )
    return manifest


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe the keys whose values differ, with both values."""
    return [
        f"{key} is {_shown(now, key)}, was {_shown(before, key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def _shown(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "missing"
