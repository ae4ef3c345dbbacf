"""Inputs of a STaR run: its datasets, and the original weights from which each round is trained.

Reading a checkpoint claims the devices, which the steps need. So it is done in a process of its
own, which imports JAX; `star` and its other steps do without.
"""

import dataclasses
import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from teacherlm_jax.config import SourceConfig, StarConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import hub
from teacherlm_jax.runs import layout
from teacherlm_jax.sources.raw_rows import digest_of_list, open_rows
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def inputs(config: StarConfig) -> dict[str, str]:
    """Return the digest of each dataset, and of `init_from` if it is set, by config key.

    A dataset that cannot be read any more, which only the first step needs, and weights that are
    gone have the digest that the run recorded. Raises UserError if it recorded none, and for
    weights that are damaged.
    """
    path = StoragePath(config.output) / layout.INPUTS
    recorded = files.read_json(path) if files.exists(path) else {}
    digests: dict[str, Callable[[], str]] = {
        f"{name}.path": functools.partial(_of_dataset, getattr(config, name), config.root)
        for name in ("explained", "questions", "test")
    }
    if config.init_from:
        digests["init_from"] = lambda: _in_own_process(_of_model, config.init_from)
        if not hub.is_address(config.init_from) and files.is_folder(StoragePath(config.init_from)):
            recorded = {key: digest for key, digest in recorded.items() if key != "init_from"}
    return {key: _or_recorded(digest, recorded.get(key)) for key, digest in digests.items()}


def require_shape(config: StarConfig) -> None:
    """Raise UserError where round 0 would: unless the model has the shape of the original one."""
    _in_own_process(_require_shape, config)


def _or_recorded(digest: Callable[[], str], recorded: str | None) -> str:
    try:
        return digest()
    except UserError:
        if recorded is None:
            raise
        return recorded


def _of_dataset(source: SourceConfig, root: str) -> str:
    return digest_of_list(open_rows(source, root).file_digests())


def _in_own_process(function: Callable[..., Any], argument: Any) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, argument).result()


def _of_model(init_from: str) -> str:
    from teacherlm_jax.hf import any_model

    return any_model.describe(init_from).digest


def _require_shape(config: StarConfig) -> None:
    from teacherlm_jax.hf import any_model
    from teacherlm_jax.training import warm_start

    original = any_model.describe(config.init_from)
    vocab_size = config.model.vocab_size or original.vocabulary.size
    model = dataclasses.replace(config.model, vocab_size=vocab_size)
    warm_start.require_shape(config.init_from, original.config, model)
