"""Checkpoints: one Orbax bundle per step, verified by digest, restored directly to any mesh.

A run folder has `vocabulary/` and `checkpoints/STEP/` with three items: `params`, `optimizer` (the
optimizer's state, the step and the random key; a converted model has none) and `meta` (JSON). Orbax
writes a step under a temporary name and renames it when it is complete. `meta` has a fingerprint of
every array, and a digest of itself: a checkpoint that differs from what was saved is refused.

Arrays are written uncompressed: weights hardly compress, and compression takes longer and needs a
second copy of the model in memory until the last array is written.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import restore, retention, selection
from teacherlm_jax.checkpoints.fingerprint import as_saved, digest, fingerprint, first_other_kind
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.runs import layout
from teacherlm_jax.sharding import Tree
from teacherlm_jax.tokenization.vocabulary import Vocabulary

# Errors in Orbax's threads are raised by the next call, so that the user gets one message. Orbax
# also logs them with tracebacks, which are filtered out here.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

BEST = "best"  # name of the best checkpoint in a path, in place of a step
_DIGEST = "digest"  # key in `meta`: digest of all its other entries


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A loaded model, ready to run.

    Attributes:
        model: the model, on the mesh it was loaded for; compute under `jax.set_mesh(mesh)`.
        vocabulary: vocabulary of its tokens.
        config: its shape, `vocab_size` resolved.
        step: number of updates.
        digest: digest of its parameters; equal values have equal digests on any mesh.
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
        folder: folder of the checkpoints, with one folder per step.
    """

    def __init__(
        self,
        run: Path | str,
        keep: int = 0,
        best: int = 0,
        ranking: Callable[[], list[int]] = list,
    ):
        """Open the checkpoints for reading or, with `keep`, for writing.

        For writing, the folder is created, leftovers of an interrupted save are removed, and each
        save keeps the newest `keep` checkpoints and the first `best` steps of `ranking()`. There
        must be only one writer.
        """
        writes = keep > 0
        self._kept = retention.Kept(keep, best, ranking)
        self.run = Path(run)
        self.folder = self.run.absolute() / layout.CHECKPOINTS
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept if writes else None,
            todelete_subdir=retention.REMOVED if writes else None,
            create=writes,
            cleanup_tmp_directories=writes,
            lightweight_initialize=True,  # does not read the times of writing
        )
        handlers = {
            "params": ocp.PyTreeCheckpointHandler(use_compression=False),
            "optimizer": ocp.PyTreeCheckpointHandler(use_compression=False),
            "meta": ocp.JsonCheckpointHandler(),
        }
        self._writes = writes and jax.process_index() == 0
        self._orderly = contextlib.ExitStack()
        if writes:
            self._orderly.enter_context(restore.orderly())
        self._empty_removed()
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def path(self, step: int) -> Path:
        """Return the folder of a step."""
        return self.folder / str(step)

    def save(
        self, step: int, params: Tree, optimizer: Tree | None, meta: Mapping[str, Any]
    ) -> None:
        """Start to save a checkpoint; return when the arrays may be donated.

        Args:
            step: number of updates.
            params: the parameters.
            optimizer: the state of the optimizer; None: no run can be resumed from this checkpoint,
                but it can be a starting point.
            meta: JSON-serializable; digests of the arrays and of itself are added.

        Raises the error of the save before, if any.
        """
        self.wait()
        meta = {**meta, "step": step, "parameters": fingerprint(params)}
        items: dict[str, ocp.args.CheckpointArgs] = {"params": ocp.args.PyTreeSave(params)}
        if optimizer is not None:
            meta["optimizer"] = fingerprint(optimizer)
            items["optimizer"] = ocp.args.PyTreeSave(optimizer)
        items["meta"] = ocp.args.JsonSave({**meta, _DIGEST: digest(meta)})
        if not self._manager.save(step, args=ocp.args.Composite(**items)):
            raise UserError(
                f"{self.path(step)}: cannot be written: the run has checkpoints of the steps "
                f"{self.steps()}, and a new one must have a later step"
            )

    def meta(self, step: int) -> dict[str, Any]:
        """Return what was saved beside the arrays; UserError if it is damaged."""
        meta, reason = self._meta(step)
        if reason:
            raise UserError(f"{self.path(step)}: {reason}; {self._way_out(step)}")
        return meta

    def params(self, step: int, abstract: Tree, *, cast: bool = False) -> Tree:
        """Return parameters with the shapes and shardings of `abstract`, verified by digest.

        A different dtype is refused or, with `cast`, converted to that of `abstract`. Raises
        UserError with the checkpoint and, for a mismatch, the parameter.
        """
        if not cast:
            return self._verified(step, "params", "parameters", abstract)
        saved = self.meta(step)["parameters"]
        params = self._verified(step, "params", "parameters", as_saved(abstract, saved))
        return jax.tree.map(lambda array, shape: array.astype(shape.dtype), params, abstract)

    def optimizer(self, step: int, abstract: Tree) -> Tree:
        """Return the saved `optimizer` with the shapes and shardings of `abstract`, verified."""
        if "optimizer" not in self.meta(step):
            raise UserError(
                f"{self.path(step)}: has no optimizer state, so no run can be resumed from it; "
                "start a new run from it with config.init_from and another config.output"
            )
        return self._verified(step, "optimizer", "optimizer", abstract)

    def check(self) -> None:
        """Raise the error of a finished save, if any; do not wait for a running one."""
        if not self._manager.is_saving_in_progress():
            self._end_save()

    def wait(self) -> None:
        """Wait for the running save; raise its error, if any."""
        self._end_save()
        self._empty_removed()

    def finish(self) -> None:
        """Wait for the save, and remove what an earlier process died before removing."""
        self.wait()
        steps = self.steps()
        for step in sorted(set(steps) - self._kept.of(steps)):
            self._manager.delete(step)
        self._empty_removed()

    def close(self) -> None:
        """Wait for the running save; raise its error, if any."""
        with self._orderly:
            self._manager.close()
        self._empty_removed()

    def _end_save(self) -> None:
        try:
            self._manager.wait_until_finished()
        except OSError as error:
            if error.errno is not None:  # such as a full disk; Orbax's threads leave out the file
                error.filename = error.filename or str(self.folder)
            raise

    def _empty_removed(self) -> None:
        if self._writes:
            retention.empty(self.folder)

    def _meta(self, step: int) -> tuple[dict[str, Any], str]:
        """Return the `meta` of a step, and the reason why it cannot be used, or ""."""
        path, reader = self.path(step), ocp.args.Composite(meta=ocp.args.JsonRestore())
        found, reason = restore.attempt(path, lambda: self._manager.restore(step, args=reader))
        if found is None:
            return {}, f"incomplete checkpoint, meta cannot be read ({reason})"
        meta = found["meta"]
        if not isinstance(meta, dict) or meta.pop(_DIGEST, None) != digest(meta):
            return {}, "meta differs from what was saved (wrong digest)"
        return meta, ""

    def _verified(self, step: int, item: str, proof: str, abstract: Tree) -> Tree:
        """Return one item of a checkpoint, verified by the fingerprint under the key `proof`."""
        path, saved = self.path(step), self.meta(step)[proof]
        if other := first_other_kind(saved, abstract):
            name, kind, wanted = other
            raise UserError(
                f"{path}: {name} in {item} is {kind}, but the run expects {wanted}; set "
                "config.model to the sizes and param_dtype of the checkpoint"
            )
        found, reason = restore.attempt(path, lambda: restore.arrays(path / item, abstract))
        if found is None:
            wrong = f"incomplete checkpoint, {item} cannot be read ({reason})"
            raise UserError(f"{path}: {wrong}; {self._way_out(step)}")
        if digest(fingerprint(found)) != digest(saved):
            wrong = f"{item} differ from what was saved (wrong digest)"
            raise UserError(f"{path}: {wrong}; {self._way_out(step)}")
        return found

    def _way_out(self, step: int) -> str:
        """Return what to do about a damaged checkpoint; a step that it names has a valid `meta`."""
        for other in sorted(set(self.steps()) - {step}, reverse=True):
            if not self._meta(other)[1]:
                return f"remove {self.path(step)} to resume from step {other}"
        return f"{self.folder} has no other complete checkpoint; train again"


def load_model(
    path: Path | str, mesh: Mesh, *, dtype: str = "", attention: str = ""
) -> LoadedModel:
    """Load a model with its parameters on `mesh`; the optimizer state is not read.

    Args:
        path: as for `open_checkpoint`.
        mesh: devices that hold the parameters.
        dtype: compute dtype; empty: the one it was trained with.
        attention: attention implementation; empty: the one it was trained with.

    Raises UserError if there is no checkpoint, it is damaged, or the vocabulary is a different one.
    """
    checkpoints, step = open_checkpoint(path)
    meta = checkpoints.meta(step)
    vocabulary = load_vocabulary(checkpoints.run, meta["vocabulary"])
    config = ModelConfig(**meta["model"])
    config = dataclasses.replace(
        config, dtype=dtype or config.dtype, attention=attention or config.attention
    )
    graph, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
    params = checkpoints.params(step, abstract)
    checkpoints.close()
    return LoadedModel(
        nnx.merge(graph, params), vocabulary, config, step, digest(meta["parameters"])
    )


def open_checkpoint(path: Path | str) -> tuple[Checkpoints, int]:
    """Open the checkpoint that `path` names; return the run's checkpoints and the step.

    Args:
        path: a run folder (its newest checkpoint), `RUN/checkpoints/STEP`, or
            `RUN/checkpoints/best` (by the metric of the training's config).

    Raises UserError if there is no such checkpoint.
    """
    path = Path(path)
    one_step = path.parent.name == layout.CHECKPOINTS and (path.name.isdigit() or path.name == BEST)
    run = path.parent.parent if one_step else path
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; name the run folder of a `train`")
    nothing = f"{run}: has no complete checkpoint; let `train` finish first"
    if not (run / layout.CHECKPOINTS).is_dir():
        raise UserError(nothing)
    checkpoints = Checkpoints(run)
    steps = checkpoints.steps()
    if not steps:
        raise UserError(nothing)
    if one_step and path.name == BEST:
        return checkpoints, selection.best_step(run, steps)
    if one_step and int(path.name) not in steps:
        found = ", ".join(map(str, steps))
        raise UserError(f"{path}: no such checkpoint; {run} has the steps {found}")
    return checkpoints, int(path.name) if one_step else steps[-1]


def load_vocabulary(run: Path | str, wanted: str) -> Vocabulary:
    """Return the vocabulary in a run folder; UserError if its digest is not `wanted`."""
    folder = Path(run) / layout.VOCABULARY
    vocabulary = Vocabulary.load(folder)
    if vocabulary.digest != wanted:
        raise UserError(
            f"{folder}: has the digest {vocabulary.digest}, but the checkpoint was trained with "
            f"{wanted}; restore the vocabulary of that training"
        )
    return vocabulary
