"""Checkpoints: one Orbax bundle a step, verified by digest, restored straight to any mesh.

A run folder has `vocabulary/` and `checkpoints/STEP/` with three items: `params`, `optimizer` (the
optimiser's state, the step and the random key; a converted model has none) and `meta` (JSON). Orbax
writes a step under another name and renames it when it is whole. `meta` holds a fingerprint of
every array, and a digest of itself: what comes back is what was saved, or is refused.

Arrays are written as they lie in memory, uncompressed: weights hardly compress, and doing so takes
longer and holds a second copy of the model until the last array is written.
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

# What fails in Orbax's threads is raised by the next call; its report of it in the log, traceback
# and all, would stand beside the one message that the user gets.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

BEST = "best"  # stands for a step, where a checkpoint is named
_DIGEST = "digest"  # of what stands beside it in `meta`


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

    def __init__(
        self,
        run: Path | str,
        keep: int = 0,
        best: int = 0,
        ranking: Callable[[], list[int]] = list,
    ):
        """Opens the checkpoints for reading or, with `keep`, for writing.

        Opened for writing, the folder is made, what an interrupted save left is removed, and the
        newest `keep` checkpoints survive a save, and the `best` first of those that `ranking` gives
        then. There must be one writer.
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
            lightweight_initialize=True,  # nothing reads when they were written
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
        """Steps of the whole checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def path(self, step: int) -> Path:
        """Folder of a step."""
        return self.folder / str(step)

    def save(
        self, step: int, params: Tree, optimizer: Tree | None, meta: Mapping[str, Any]
    ) -> None:
        """Starts to write a checkpoint; returns when the arrays may be used up.

        `meta` is JSON-able; what is needed to verify the arrays and itself is added to it. Without
        an `optimizer`, the checkpoint is a model to begin with, and no run can be resumed from it.
        What went wrong with the save before is raised.
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
                f"{self.path(step)}: cannot be written, the run has the steps {self.steps()} "
                "and its checkpoints only go forward"
            )

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved beside the arrays; UserError unless it can be read and is just that."""
        meta, reason = self._meta(step)
        if reason:
            raise UserError(f"{self.path(step)}: {reason}; {self._way_out(step)}")
        return meta

    def params(self, step: int, abstract: Tree, *, cast: bool = False) -> Tree:
        """Parameters with the shapes and shardings of `abstract`, verified against their digest.

        Another dtype is refused, or converted to that of `abstract` with `cast`. Raises UserError
        naming the checkpoint, and the parameter where one does not fit.
        """
        if not cast:
            return self._verified(step, "params", "parameters", abstract)
        saved = self.meta(step)["parameters"]
        found = self._verified(step, "params", "parameters", as_saved(abstract, saved))
        return jax.tree.map(lambda array, wanted: array.astype(wanted.dtype), found, abstract)

    def optimizer(self, step: int, abstract: Tree) -> Tree:
        """What `save` got as `optimizer`, with the shapes and shardings of `abstract`; verified."""
        if "optimizer" not in self.meta(step):
            raise UserError(
                f"{self.path(step)}: holds a model without an optimiser, which no run can resume; "
                "name it as config.init_from, and another config.output"
            )
        return self._verified(step, "optimizer", "optimizer", abstract)

    def check(self) -> None:
        """Raises what went wrong with a save that has ended; waits for none."""
        if not self._manager.is_saving_in_progress():
            self._end_save()

    def wait(self) -> None:
        """Waits for what is being written; raises what went wrong with it."""
        self._end_save()
        self._empty_removed()

    def finish(self) -> None:
        """Waits, and removes what a process that died after its last save should have removed."""
        self.wait()
        steps = self.steps()
        for step in sorted(set(steps) - self._kept.of(steps)):
            self._manager.delete(step)
        self._empty_removed()

    def close(self) -> None:
        """Waits for what is being written; raises what went wrong with it."""
        with self._orderly:
            self._manager.close()
        self._empty_removed()

    def _end_save(self) -> None:
        try:
            self._manager.wait_until_finished()
        except OSError as error:
            if error.errno is not None:  # a full disk's, which Orbax's threads leave nameless
                error.filename = error.filename or str(self.folder)
            raise

    def _empty_removed(self) -> None:
        if self._writes:
            retention.empty(self.folder)

    def _meta(self, step: int) -> tuple[dict[str, Any], str]:
        """A step's `meta`, and what is wrong with it."""
        path, reader = self.path(step), ocp.args.Composite(meta=ocp.args.JsonRestore())
        found, reason = restore.attempt(path, lambda: self._manager.restore(step, args=reader))
        if found is None:
            return {}, f"not a whole checkpoint, meta cannot be read ({reason})"
        meta = found["meta"]
        if not isinstance(meta, dict) or meta.pop(_DIGEST, None) != digest(meta):
            return {}, "meta is not what was saved (its digest differs)"
        return meta, ""

    def _verified(self, step: int, item: str, proof: str, abstract: Tree) -> Tree:
        """One item of a checkpoint, which must be what `save` fingerprinted under `proof`."""
        path, saved = self.path(step), self.meta(step)[proof]
        if other := first_other_kind(saved, abstract):
            name, kind, wanted = other
            raise UserError(
                f"{path}: {item} has {kind} as {name}, the run wants {wanted}; give config.model "
                "the sizes and the param_dtype that the checkpoint was trained with"
            )
        found, reason = restore.attempt(path, lambda: restore.arrays(path / item, abstract))
        if found is None:
            wrong = f"not a whole checkpoint, {item} cannot be read ({reason})"
            raise UserError(f"{path}: {wrong}; {self._way_out(step)}")
        if digest(fingerprint(found)) != digest(saved):
            wrong = f"{item} is not what was saved (its digest differs)"
            raise UserError(f"{path}: {wrong}; {self._way_out(step)}")
        return found

    def _way_out(self, step: int) -> str:
        """What to do about a damaged checkpoint; the one it offers has a `meta` in order."""
        for other in sorted(set(self.steps()) - {step}, reverse=True):
            if not self._meta(other)[1]:
                return f"remove {self.path(step)} to go on from step {other}"
        return f"no other whole checkpoint stands in {self.folder}; train again"


def load_model(
    path: Path | str, mesh: Mesh, *, dtype: str = "", attention: str = ""
) -> LoadedModel:
    """A model with its parameters on `mesh`: a run folder's newest, or of `RUN/checkpoints/STEP`.

    `dtype` is that of the computation, `attention` its implementation; empty, they are those that
    it was trained with. Nothing but the parameters is read. Raises UserError when there is no
    checkpoint, it is damaged, or its vocabulary is another's.
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
    """The checkpoint that `path` names.

    It is a run folder's newest, or `RUN/checkpoints/STEP`, or the one that did best by the metric
    of its training's config, `RUN/checkpoints/best`. Raises UserError when it is not there.
    """
    path = Path(path)
    one_step = path.parent.name == layout.CHECKPOINTS and (path.name.isdigit() or path.name == BEST)
    run = path.parent.parent if one_step else path
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; name the run folder of a `train`")
    nothing = f"{run}: holds no whole checkpoint; let `train` finish there first"
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
    """The vocabulary in a run folder; UserError when its digest is not `wanted`."""
    folder = Path(run) / layout.VOCABULARY
    vocabulary = Vocabulary.load(folder)
    if vocabulary.digest != wanted:
        raise UserError(
            f"{folder}: its digest is {vocabulary.digest}, the checkpoint was trained with "
            f"{wanted}; put the vocabulary of that training back"
        )
    return vocabulary
