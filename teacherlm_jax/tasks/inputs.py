"""What a mixture is prepared from, and whether the one that is there was prepared from the same."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import MixtureConfig, PrepareConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.mixtures import used_sources
from teacherlm_jax.tasks.surveyed_source import Source
from teacherlm_jax.tokenization.vocabulary import Vocabulary


def inputs(
    config: PrepareConfig,
    mixture: MixtureConfig,
    sources: Sequence[Source],
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Everything that decides a mixture's bytes, and nothing else, as JSON gives it back."""
    used = used_sources(mixture, sources)
    made_from = {
        "mixture": dataclasses.asdict(mixture),
        "sources": [
            dataclasses.asdict(source.config)
            | {"samples": source.samples, "refused": source.refused, "digests": source.digests}
            for source in used
        ],
        "vocabulary": {"size": vocabulary.size, "digest": vocabulary.digest},
        "prompt_version": prompts.PROMPT_VERSION,
        "length": config.length,
        "max_tokens": config.max_tokens or config.length,
        "rows_per_shard": config.rows_per_shard,
        "seed": config.seed,
    }
    return json.loads(json.dumps(made_from))


def already_prepared(
    config: PrepareConfig, sources: Sequence[Source], vocabulary: Vocabulary, run: Run
) -> dict[str, dict[str, Any]]:
    """The manifests of the mixtures that are there, by name.

    Raises UserError for a folder that was prepared from other inputs, or by something else.
    """
    found = {}
    for mixture in config.mixtures:
        folder = Path(config.output) / mixture.name
        if folder.exists():
            found[mixture.name] = _manifest(folder, inputs(config, mixture, sources, vocabulary))
            run.log.info("%s: already prepared", folder)
    return found


def _manifest(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """That of a prepared mixture, if it was prepared from `wanted`."""
    if not (folder / layout.MANIFEST).is_file():
        raise UserError(
            f"{folder}: is there but was not written by `prepare` (no {layout.MANIFEST}); "
            "remove it or choose another name"
        )
    manifest = files.read_json(folder / layout.MANIFEST)
    earlier = manifest["inputs"]
    other = [key for key in wanted if earlier.get(key) != wanted[key]]
    if other:
        raise UserError(
            f"{folder}: was prepared from other inputs ({', '.join(other)}); "
            "choose another config.output, or remove the folder to prepare it again"
        )
    return manifest
