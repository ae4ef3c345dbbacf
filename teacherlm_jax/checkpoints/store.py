"""Checkpoints: one Orbax bundle per step, verified by digest, restored directly to any mesh.

A run folder has `vocabulary/` and `checkpoints/STEP/` with three items: `params`, `optimizer` (the
optimizer's state, the step and the random key; a converted model has none) and `meta` (JSON). Orbax
writes a step under a temporary name and renames it when it is complete. `meta` has a fingerprint of
every array, and a digest of itself: a checkpoint that differs from what was saved is refused.

Arrays are written uncompressed: weights hardly compress, and compression takes longer and needs a
second copy of the model in memory until the last array is written.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jaxtyping import Shaped

from teacherlm_jax.checkpoints import restore, retention
from teacherlm_jax.checkpoints.fingerprint import (
    as_saved,
    digest,
    fingerprint,
    first_other_kind,
    sealed,
    unsealed,
)
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import locations, store_errors
from teacherlm_jax.storage.paths import StoragePath

# Errors in Orbax's threads are raised by the next call, so that the user gets one message. Orbax
# also logs them with tracebacks, which are filtered out here.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)


class Checkpoints:
    """The checkpoints of one run folder.

    Attributes:
        run: the run folder.
        folder: folder of the checkpoints, with one folder per step.
    """

    def __init__(
        self,
        run: epath.PathLike,
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
        self._kept = retention.RetentionPolicy(keep, best, ranking)
        self.run = StoragePath(run)
        self.folder = locations.absolute(run) / layout.CHECKPOINTS
        restore.limit_repeats(self.folder)
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

    def path(self, step: int) -> epath.Path:
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
        items["meta"] = ocp.args.JsonSave(sealed(meta))
        with self._naming():
            saved = self._manager.save(step, args=ocp.args.Composite(**items))
        if not saved:
            raise UserError(
                f"{self.path(step)}: cannot be written: the run has checkpoints of the steps "
                f"{self.steps()}, and a new one must have a later step; choose another folder, or "
                "remove the later checkpoints"
            )

    def meta(self, step: int) -> dict[str, Any]:
        """Return the `meta` of a step; UserError if it is damaged."""
        meta, reason = self._meta(step)
        if reason:
            raise self._unusable(step, reason)
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
        return jax.tree.map(_converted, params, abstract)

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
        """Wait for the running save, and finish removals that a killed process left."""
        self.wait()
        steps = self.steps()
        for step in sorted(set(steps) - self._kept.of(steps)):
            self._manager.delete(step)
        self._empty_removed()

    def close(self) -> None:
        """Wait for the running save; raise its error, if any."""
        with self._orderly, self._naming():
            self._manager.close()
        self._empty_removed()

    def _end_save(self) -> None:
        with self._naming():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Name the folder in errors of saving that name no file or object."""
        try:
            yield
        except OSError as error:
            if error.errno is not None:  # such as a full disk; Orbax's threads leave out the file
                error.filename = error.filename or str(self.folder)
            raise
        except Exception as error:
            if message := store_errors.explain(error, f"{self.folder}: cannot be written"):
                raise StoreError(message) from error
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
        meta = unsealed(found["meta"])
        if meta is None:
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
            raise self._unusable(step, f"incomplete checkpoint, {item} cannot be read ({reason})")
        if digest(fingerprint(found)) != digest(saved):
            raise self._unusable(step, f"{item} differ from what was saved (wrong digest)")
        return found

    def _unusable(self, step: int, wrong: str) -> UserError:
        """Return the error for a checkpoint with a fault, or one that is not there any more."""
        path = self.path(step)
        if not path.exists():
            return UserError(
                f"{path}: removed while it was read; a training keeps only its newest config.keep "
                "checkpoints, so repeat this command, or name a later step"
            )
        return UserError(f"{path}: {wrong}; {self._remedy(step)}")

    def _remedy(self, step: int) -> str:
        """Return a remedy for a damaged checkpoint; it names only steps with a valid `meta`."""
        for other in sorted(set(self.steps()) - {step}, reverse=True):
            if not self._meta(other)[1]:
                return f"remove {self.path(step)} to resume from step {other}"
        return f"{self.folder} has no other complete checkpoint; remove it and train again"


def _converted(
    array: Shaped[jax.Array, "..."], wanted: jax.ShapeDtypeStruct
) -> Shaped[jax.Array, "..."]:
    """Return the array in the wanted dtype; the memory of another dtype is free then."""
    if array.dtype == wanted.dtype:
        return array
    converted = jax.block_until_ready(array.astype(wanted.dtype))
    array.delete()
    return converted
