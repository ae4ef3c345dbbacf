"""Checkpoints: one Orbax bundle a step, verified by digest, restored straight to any mesh.

A run folder has `vocabulary/` and `checkpoints/STEP/` with three items: `params`, `optimizer` (the
optimiser's state, the step and the random key; a converted model has none) and `meta` (JSON). Orbax
writes a step under another name and renames it when it is whole.

Arrays are written as they lie in memory, uncompressed: weights hardly compress, and doing so takes
longer and holds a second copy of the model until the last array is written.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import selection, sharding
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.errors import UserError
from teacherlm_jax.fingerprint import digest, fingerprint, leaf_name, named_leaves
from teacherlm_jax.models import registry
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.sharding import Tree

# What fails in Orbax's threads is raised by the next call; its report of it in the log, traceback
# and all, would stand beside the one message that the user gets.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

CHECKPOINTS = "checkpoints"
VOCABULARY = "vocabulary"
BEST = "best"  # stands for a step, where a checkpoint is named


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
        self.run = Path(run)
        self.folder = self.run.absolute() / CHECKPOINTS
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(keep, best, ranking) if writes else None,
            create=writes,
            cleanup_tmp_directories=writes,
        )
        handlers = {
            "params": ocp.PyTreeCheckpointHandler(use_compression=False),
            "optimizer": ocp.PyTreeCheckpointHandler(use_compression=False),
            "meta": ocp.JsonCheckpointHandler(),
        }
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

        `meta` is JSON-able; what is needed to verify the arrays is added to it. Without an
        `optimizer`, the checkpoint is a model to begin with, and no run can be resumed from it.
        """
        meta = {**meta, "step": step, "parameters": fingerprint(params)}
        items: dict[str, ocp.args.CheckpointArgs] = {"params": ocp.args.PyTreeSave(params)}
        if optimizer is not None:
            meta["optimizer"] = fingerprint(optimizer)
            items["optimizer"] = ocp.args.PyTreeSave(optimizer)
        items["meta"] = ocp.args.JsonSave(meta)
        if not self._manager.save(step, args=ocp.args.Composite(**items)):
            raise UserError(
                f"{self.path(step)}: cannot be written, the run has the steps {self.steps()} "
                "and its checkpoints only go forward"
            )

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved beside the arrays; UserError when it cannot be read."""
        with self._explained(step, "meta"):
            return self._manager.restore(
                step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
            )["meta"]

    def params(self, step: int, abstract: Tree, *, cast: bool = False) -> Tree:
        """Parameters with the shapes and shardings of `abstract`, verified against their digest.

        Another dtype is refused, or converted to that of `abstract` with `cast`. Raises UserError
        naming the checkpoint, and the parameter where one does not fit.
        """
        if not cast:
            return self._verified(step, "params", "parameters", abstract)
        saved = self.meta(step)["parameters"]
        found = self._verified(step, "params", "parameters", _with_dtypes(abstract, saved))
        return jax.tree.map(lambda array, wanted: array.astype(wanted.dtype), found, abstract)

    def optimizer(self, step: int, abstract: Tree) -> Tree:
        """What `save` got as `optimizer`, with the shapes and shardings of `abstract`; verified."""
        if "optimizer" not in self.meta(step):
            raise UserError(
                f"{self.path(step)}: holds a model without an optimiser, which no run can resume; "
                "name it as config.init_from, and another config.output"
            )
        return self._verified(step, "optimizer", "optimizer", abstract)

    def wait(self) -> None:
        """Waits for what is being written; raises what went wrong with it."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.close()

    def _verified(self, step: int, item: str, proof: str, abstract: Tree) -> Tree:
        """One item of a checkpoint, which must be what `save` fingerprinted under `proof`."""
        saved = self.meta(step)[proof]
        self._refuse_other_shapes(step, item, saved, abstract)
        found = self._restored(step, item, abstract)
        if digest(fingerprint(found)) != digest(saved):
            raise UserError(
                f"{self.path(step)}: {item} is not what was saved (its digest differs); "
                f"{self._way_out(step)}"
            )
        return found

    def _restored(self, step: int, item: str, abstract: Tree) -> Tree:
        # Reading takes a second copy of what is read at the same time: no more than one large
        # array, then, and as many small ones as are as large together.
        largest = max(array.size * array.dtype.itemsize for array in jax.tree.leaves(abstract))
        handler = ocp.StandardCheckpointHandler(restore_concurrent_gb=1.001 * largest / 1e9)
        with self._explained(step, item), ocp.Checkpointer(handler) as reader:
            return reader.restore(self.path(step) / item, ocp.args.StandardRestore(abstract))

    @contextlib.contextmanager
    def _explained(self, step: int, item: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # for files that were cut, Orbax raises just that
            reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
            raise UserError(
                f"{self.path(step)}: not a whole checkpoint, {item} cannot be read "
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
        wanted = {name: _kind(array) for name, array in named_leaves(abstract)}
        for name in sorted(wanted.keys() | saved.keys()):
            found = f"{saved[name]['dtype']}{saved[name]['shape']}" if name in saved else "nothing"
            if found != wanted.get(name, "nothing"):
                raise UserError(
                    f"{self.path(step)}: {item} has {found} as {name}, the run wants "
                    f"{wanted.get(name, 'nothing')}; give config.model the sizes and the "
                    "param_dtype that the checkpoint was trained with"
                )


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Orbax's policy of what survives a save: the newest checkpoints, and the best."""

    newest: int
    best: int
    ranking: Callable[[], list[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        ranked = [step for step in self.ranking() if step in steps]
        kept = {*steps[-self.newest :], *ranked[: self.best]}
        return [step in kept for step in steps]


def _kind(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _with_dtypes(abstract: Tree, saved: Mapping[str, Any]) -> Tree:
    """`abstract` with the dtypes that were saved."""

    def held(path: Any, array: Any) -> jax.ShapeDtypeStruct:
        entry = saved.get(leaf_name(path), {})
        dtype = jnp.dtype(entry.get("dtype", array.dtype))
        return jax.ShapeDtypeStruct(array.shape, dtype, sharding=array.sharding)

    return jax.tree_util.tree_map_with_path(held, abstract)


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
    one_step = path.parent.name == CHECKPOINTS and (path.name.isdigit() or path.name == BEST)
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
    if one_step and path.name == BEST:
        return checkpoints, selection.best_step(run, steps)
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
