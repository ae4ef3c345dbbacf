"""The base of a LoRA run: the model that its adapters belong to, by address and digest.

A checkpoint of such a run holds the adapters and no copy of the base.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints.fingerprint import digest
from teacherlm_jax.config import LoraConfig
from teacherlm_jax.storage import locations

_KEY = "lora"  # in the meta of a checkpoint


@dataclasses.dataclass(frozen=True)
class AdapterBase:
    """The base of adapters.

    Attributes:
        path: its checkpoint or folder; an address on the hub stays one.
        beside: the same, relative to the run folder; empty if they are not in one store.
        digest: digest of its parameters.
    """

    path: str
    beside: str
    digest: str


@dataclasses.dataclass(frozen=True)
class AdapterOrigin:
    """The settings of adapters, and their base."""

    lora: LoraConfig
    base: AdapterBase

    def to_meta(self) -> dict[str, Any]:
        """Return the entry of a checkpoint's meta."""
        return {_KEY: {**dataclasses.asdict(self.lora), "base": dataclasses.asdict(self.base)}}

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> "AdapterOrigin | None":
        """Return what a checkpoint's meta says; None if it holds a whole model."""
        if _KEY not in meta:
            return None
        settings = dict(meta[_KEY])
        base = AdapterBase(**settings.pop("base"))
        return cls(LoraConfig(**settings | {"targets": tuple(settings["targets"])}), base)


def model_digest(meta: Mapping[str, Any]) -> str:
    """Return the digest of the model of a checkpoint, given its meta.

    With LoRA it depends on the base, the settings and the adapters, and not on their paths.
    """
    origin = AdapterOrigin.of(meta)
    if origin is None:
        return digest(meta["parameters"])
    settings = {**dataclasses.asdict(origin.lora), "base": origin.base.digest}
    return digest({"adapters": meta["parameters"], _KEY: settings})


def relative(path: epath.PathLike, run: epath.PathLike) -> str:
    """Return `path` relative to a run folder; empty if they are not in one store."""
    (store, own), (other, folder) = map(_in_store, (path, run))
    return os.path.relpath(own, folder) if store == other else ""


def under_run(run: epath.PathLike, beside: str) -> epath.Path:
    """Return the path that is `beside` relative to a run folder."""
    store, folder = _in_store(run)
    return locations.absolute(store + os.path.normpath(os.path.join(folder, beside)))


def _in_store(path: epath.PathLike) -> tuple[str, str]:
    """Return the scheme of a path's store, empty for this machine, and the path in it."""
    scheme, mark, rest = os.fspath(locations.absolute(path)).rpartition("://")
    return scheme + mark, rest
