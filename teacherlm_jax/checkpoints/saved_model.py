"""The model of a checkpoint that a path names, with its vocabulary."""

import dataclasses

from etils import epath
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import capacity
from teacherlm_jax.checkpoints import commit_marks, selection
from teacherlm_jax.checkpoints.fingerprint import digest
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import int8, registry
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import Vocabulary

BEST = "best"  # name of the best checkpoint in a path, in place of a step


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A loaded model, ready to run.

    Attributes:
        model: the model, on the mesh it was loaded for; compute under `jax.set_mesh(mesh)`.
        vocabulary: vocabulary of its tokens.
        config: its shape, `vocab_size` resolved.
        step: number of updates.
        digest: digest of its parameters; equal values have equal digests on any mesh.
        adapters: number of adapters that rows choose from; 0: all rows have the same model.
    """

    model: Decoder
    vocabulary: Vocabulary
    config: ModelConfig
    step: int
    digest: str
    adapters: int = 0

    @property
    def weights(self) -> str:
        """Dtype of the kernels and tables: "int8", or a dtype of floats."""
        return str(self.model.embedding.dtype)


def load_model(
    path: epath.PathLike, mesh: Mesh, *, dtype: str = "", attention: str = "", weights: str = ""
) -> LoadedModel:
    """Load a model with its parameters on `mesh`; the optimizer state is not read.

    Args:
        path: as for `open_checkpoint`.
        mesh: devices that hold the parameters.
        dtype: compute dtype; empty: the one it was trained with. Parameters outside norms are
            converted to it if that makes them smaller; results do not change.
        attention: attention implementation; empty: the one it was trained with.
        weights: "int8" stores kernels and tables in int8, once they are restored.

    Raises UserError if the checkpoint is missing or damaged, if the vocabulary has changed, or if
    the parameters exceed the memory of a device.
    """
    checkpoints, step = open_checkpoint(path)
    meta = checkpoints.meta(step)
    vocabulary = load_vocabulary(checkpoints.run, meta["vocabulary"])
    config = ModelConfig(**meta["model"])
    config = dataclasses.replace(
        config, dtype=dtype or config.dtype, attention=attention or config.attention
    )
    graph, abstract = registry.abstract(config, mesh, weights=weights)
    stored = registry.for_inference(config, abstract)
    restored = int8.restored(stored) if weights else stored
    capacity.refuse_too_large(str(path), restored if weights else abstract, mesh, convertible=False)
    params = checkpoints.params(step, restored, cast=True)
    checkpoints.close()
    if weights:
        params = int8.quantized(params, stored)
    return LoadedModel(
        nnx.merge(graph, params), vocabulary, config, step, digest(meta["parameters"])
    )


def open_checkpoint(path: epath.PathLike) -> tuple[Checkpoints, int]:
    """Open the checkpoint that `path` names; return the run's checkpoints and the step.

    Args:
        path: a run folder (its newest checkpoint), `RUN/checkpoints/STEP`, or
            `RUN/checkpoints/best` (by the metric of the training's config).

    Raises UserError if there is no such checkpoint.
    """
    path = StoragePath(path)
    one_step = path.parent.name == layout.CHECKPOINTS and (path.name.isdigit() or path.name == BEST)
    run = path.parent.parent if one_step else path
    if not files.is_folder(run):
        raise UserError(f"{run}: no such folder; name a run folder of `train`")
    nothing = f"{run}: has no complete checkpoint; let `train` finish first"
    if not (run / layout.CHECKPOINTS).is_dir():
        raise UserError(nothing)
    checkpoints = Checkpoints(run)
    steps = checkpoints.steps()
    if not steps and (unmarked := commit_marks.unmarked(checkpoints.folder)):
        remedy = "repeat the `train` of this run, which adds it to those that are complete"
        if files.exists(run / layout.RESULT):  # a finished or imported run adds nothing
            remedy = "copy that file of each, or the whole run, from where the run was"
        raise UserError(
            f"{run}: the checkpoints of the steps {', '.join(unmarked)} lack the file "
            f"{layout.COMMIT_MARK}; {remedy}"
        )
    if not steps:
        raise UserError(nothing)
    if one_step and path.name == BEST:
        return checkpoints, selection.best_step(run, steps)
    if one_step and int(path.name) not in steps:
        found = ", ".join(map(str, steps))
        raise UserError(f"{path}: no such checkpoint; {run} has the steps {found}")
    return checkpoints, int(path.name) if one_step else steps[-1]


def load_vocabulary(run: epath.PathLike, wanted: str) -> Vocabulary:
    """Return the vocabulary in a run folder; UserError if its digest is not `wanted`."""
    folder = StoragePath(run) / layout.VOCABULARY
    vocabulary = Vocabulary.load(folder)
    if vocabulary.digest != wanted:
        raise UserError(
            f"{folder}: has the digest {vocabulary.digest}, but the checkpoint was trained with "
            f"{wanted}; restore the vocabulary of that training"
        )
    return vocabulary
