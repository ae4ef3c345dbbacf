"""Checkpoints: one Orbax bundle a step, verified by digest, restored straight to any mesh.

A run folder has `vocabulary/` and `checkpoints/STEP/` with three items: `params`, `optimizer` (the
optimiser's state, the step and the random key) and `meta` (JSON). Orbax writes a step under another
name and renames it when it is whole.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, UInt32

from teacherlm_jax import sharding
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.sharding import Tree

# What fails in Orbax's threads is raised by the next call; its report of it in the log, traceback
# and all, would stand beside the one message that the user gets.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

CHECKPOINTS = "checkpoints"
VOCABULARY = "vocabulary"


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to run.

    Attributes:
        model: on the mesh it was loaded for; compute under `with jax.set_mesh(mesh):`.
        vocabulary: of its tokens.
        config: its shape, `vocab_size` resolved.
        step: updates it has had.
        digest: of its parameters; the same for the same values on any mesh.
    """

    model: Decoder
    vocabulary: Vocabulary
    config: ModelConfig
    step: int
    digest: str


class Checkpoints:
    """The checkpoints of one run folder.

    Attributes:
        run: the run folder.
        folder: where they lie, one folder a step.
    """

    def __init__(self, run: Path | str, keep: int = 0):
        """Opens the checkpoints for reading or, with `keep`, for writing.

        Opened for writing, the folder is made, what an interrupted save left is removed, and the
        newest `keep` checkpoints survive a save. There must be one writer.
        """
        writes = keep > 0
        self.run = Path(run)
        self.folder = self.run.absolute() / CHECKPOINTS
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep or None, create=writes, cleanup_tmp_directories=writes
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def path(self, step: int) -> Path:
        """Folder of a step."""
        return self.folder / str(step)

    def save(self, step: int, params: Tree, optimizer: Tree, meta: Mapping[str, Any]) -> None:
        """Starts to write a checkpoint; returns when the arrays may be used up.

        `meta` is JSON-able; what is needed to verify the arrays is added to it.
        """
        proof = {"parameters": fingerprint(params), "optimizer": fingerprint(optimizer)}
        meta = {**meta, "step": step, **proof}
        saved = self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),
                optimizer=ocp.args.StandardSave(optimizer),
                meta=ocp.args.JsonSave(meta),
            ),
        )
        if not saved:
            raise UserError(
                f"{self.path(step)}: cannot be written, the run has the steps {self.steps()} "
                "and its checkpoints only go forward"
            )

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved beside the arrays; UserError when it cannot be read."""
        return self._restored(step, meta=ocp.args.JsonRestore())["meta"]

    def params(self, step: int, abstract: Tree) -> Tree:
        """Parameters with the shapes and shardings of `abstract`, verified against their digest.

        Raises UserError naming the checkpoint, and the parameter where one does not fit.
        """
        return self._verified(step, "params", "parameters", abstract)

    def optimizer(self, step: int, abstract: Tree) -> Tree:
        """What `save` got as `optimizer`, with the shapes and shardings of `abstract`; verified."""
        return self._verified(step, "optimizer", "optimizer", abstract)

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.close()

    def _verified(self, step: int, item: str, proof: str, abstract: Tree) -> Tree:
        """One item of a checkpoint, which must be what `save` fingerprinted under `proof`."""
        saved = self.meta(step)[proof]
        self._refuse_other_shapes(step, item, saved, abstract)
        found = self._restored(step, **{item: ocp.args.StandardRestore(abstract)})[item]
        if digest(fingerprint(found)) != digest(saved):
            raise UserError(
                f"{self.path(step)}: {item} is not what was saved (its digest differs); "
                f"{self._way_out(step)}"
            )
        return found

    def _restored(self, step: int, **items: ocp.args.CheckpointArgs) -> Mapping[str, Any]:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # for files that were cut, Orbax raises just that
            reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
            raise UserError(
                f"{self.path(step)}: not a whole checkpoint, {', '.join(items)} cannot be read "
                f"({reason}); {self._way_out(step)}"
            ) from None

    def _way_out(self, step: int) -> str:
        others = [other for other in self.steps() if other != step]
        if others:
            return f"remove {self.path(step)} to go on from step {max(others)}"
        return f"no other checkpoint stands in {self.folder}; train again"

    def _refuse_other_shapes(
        self, step: int, item: str, saved: Mapping[str, Any], abstract: Tree
    ) -> None:
        wanted = {name: _kind(array) for name, array in _named_leaves(abstract)}
        for name in sorted(wanted.keys() | saved.keys()):
            found = f"{saved[name]['dtype']}{saved[name]['shape']}" if name in saved else "nothing"
            if found != wanted.get(name, "nothing"):
                raise UserError(
                    f"{self.path(step)}: {item} has {found} as {name}, the run wants "
                    f"{wanted.get(name, 'nothing')}; give config.model the sizes and the "
                    "param_dtype that the checkpoint was trained with"
                )


def _kind(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def load_model(path: Path | str, mesh: Mesh, *, dtype: str | None = None) -> LoadedModel:
    """A model with its parameters on `mesh`: a run folder's newest, or of `RUN/checkpoints/STEP`.

    `dtype` is that of the computation, the one it was trained with when None. Nothing but the
    parameters is read. Raises UserError when there is no checkpoint, it is damaged, or its
    vocabulary is another's.
    """
    checkpoints, step = open_checkpoint(path)
    meta = checkpoints.meta(step)
    vocabulary = load_vocabulary(checkpoints.run, meta["vocabulary"])
    config = ModelConfig(**meta["model"])
    if dtype:
        config = dataclasses.replace(config, dtype=dtype)
    graph, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
    params = checkpoints.params(step, abstract)
    checkpoints.close()
    return LoadedModel(
        nnx.merge(graph, params), vocabulary, config, step, digest(meta["parameters"])
    )


def open_checkpoint(path: Path | str) -> tuple[Checkpoints, int]:
    """The checkpoint that `path` names: a run folder's newest, or `RUN/checkpoints/STEP`.

    Raises UserError when it is not there.
    """
    path = Path(path)
    one_step = path.parent.name == CHECKPOINTS and path.name.isdigit()
    run = path.parent.parent if one_step else path
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; name the run folder of a `train`")
    nothing = f"{run}: holds no whole checkpoint; let `train` finish there first"
    if not (run / CHECKPOINTS).is_dir():
        raise UserError(nothing)
    checkpoints = Checkpoints(run)
    steps = checkpoints.steps()
    if not steps:
        raise UserError(nothing)
    if one_step and int(path.name) not in steps:
        found = ", ".join(map(str, steps))
        raise UserError(f"{path}: no such checkpoint; {run} has the steps {found}")
    return checkpoints, int(path.name) if one_step else steps[-1]


def load_vocabulary(run: Path | str, wanted: str) -> Vocabulary:
    """The vocabulary in a run folder; UserError when its digest is not `wanted`."""
    folder = Path(run) / VOCABULARY
    vocabulary = Vocabulary.load(folder)
    if vocabulary.digest != wanted:
        raise UserError(
            f"{folder}: its digest is {vocabulary.digest}, the checkpoint was trained with "
            f"{wanted}; put the vocabulary of that training back"
        )
    return vocabulary


def digest(parameters: Mapping[str, Any]) -> str:
    """`sha256:…` of a fingerprint: names the values of a model's parameters."""
    text = json.dumps(parameters, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def fingerprint(params: Tree) -> dict[str, dict[str, Any]]:
    """Shape, dtype and checksum of every parameter by name; the same on any mesh."""
    named = _named_leaves(params)
    checksums = jax.device_get(_checksums([array for _, array in named]))
    return {
        name: {"shape": list(array.shape), "dtype": str(array.dtype), "checksum": int(checksum)}
        for (name, array), checksum in zip(named, checksums, strict=True)
    }


def _named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


@jax.jit
def _checksums(arrays: list[Array]) -> list[UInt32[Array, ""]]:
    return [_checksum(array) for array in arrays]


def _checksum(array: Array) -> UInt32[Array, ""]:
    """Sum over elements of a hash of their bits and their place, modulo 2^32.

    Integer sums are exact in any order, so the devices that hold the pieces need not agree on one.
    At a place the hash is one to one: a change in a single element always changes the sum.
    """
    bits = jax.lax.bitcast_convert_type(array, np.dtype(f"uint{array.dtype.itemsize * 8}"))
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    return jnp.sum(_mixed(bits.astype(jnp.uint32) ^ _mixed(place)), dtype=jnp.uint32)


def _mixed(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """MurmurHash3's finaliser: one to one, and every bit of `x` moves every bit of the result."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
