"""Initial parameters of a run that come from another model."""

from collections.abc import Iterable
from pathlib import Path

import jax

from teacherlm_jax import capacity
from teacherlm_jax.checkpoints import fingerprint, saved_model
from teacherlm_jax.checkpoints.adapter_origin import AdapterOrigin
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model, hub, model_folder, model_path
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import locations
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_SHAPE_KEYS = (
    *("family", "layers", "width", "heads", "vocab_size", "embedding_width", "max_positions"),
    *("norm", "tied", "layer_norm_epsilon"),
)


def starting_point(init_from: str) -> str:
    """Return `init_from`, or of a run folder the checkpoint that it names now.

    The run may go on and save others, and all processes have to start from the same one, which is
    the one that a LoRA run records. A run that is missing is returned as it is: it is not needed if
    the training resumes from a checkpoint of its own.
    """
    if not init_from or hub.is_address(init_from):
        return init_from

    def resolve() -> str:
        try:
            folder, is_checkpoint = model_path.resolve(init_from)
            if not is_checkpoint:
                return init_from
            checkpoints, step = saved_model.open_checkpoint(locations.absolute(folder))
        except UserError:
            return init_from
        checkpoints.close()
        return str(checkpoints.path(step))

    return distributed.of_first(resolve)


def warm_start(init_from: str, model: ModelConfig, vocabulary: Vocabulary, abstract: Tree) -> Tree:
    """Return the parameters of another model, with the shardings of `abstract`.

    Args:
        init_from: any path that `any_model.describe` takes. The parameters of a Hugging Face folder
            are read directly into their shards on the mesh.
        model: the run's model, `vocab_size` resolved.
        vocabulary: vocabulary of the run's data; the other model must have the same one.
        abstract: shapes, dtypes and shardings of the parameters.

    The adapters of a LoRA run are merged into its base. Raises UserError when the other model is
    missing or damaged, has another shape or vocabulary, or does not fit into the memory of a
    device in the dtypes in which a checkpoint has it.
    """
    folder, is_checkpoint = model_path.resolve(init_from)
    if not is_checkpoint:
        return _from_model_folder(init_from, folder, model, vocabulary, abstract)
    source, step = saved_model.open_checkpoint(folder)
    meta = source.meta(step)
    digest = meta["vocabulary"]
    if digest != vocabulary.digest:
        raise UserError(
            f"config.init_from={init_from}: was trained with the vocabulary {digest}, but "
            f"config.data was prepared with {vocabulary.digest}; prepare the data with "
            f"config.vocabulary.path={source.run / layout.VOCABULARY}"
        )
    source.close()
    # Other differences are found by the parameters, which have other shapes or names then.
    _require_same(init_from, ModelConfig(**meta["model"]), model, ("layer_norm_epsilon",))
    if AdapterOrigin.of(meta) is None:  # they are restored in the dtypes in which they were saved
        mesh = jax.tree.leaves(abstract)[0].sharding.mesh
        saved = fingerprint.as_saved(abstract, meta["parameters"])
        capacity.refuse_too_large(f"config.init_from={init_from}", saved, mesh, convertible=True)
    return any_model.parameters(source.path(step), abstract)


def _from_model_folder(
    init_from: str, folder: Path, model: ModelConfig, vocabulary: Vocabulary, abstract: Tree
) -> Tree:
    opened = model_folder.open_model(folder, model.param_dtype)
    require_shape(init_from, opened.config, model)
    if opened.vocabulary.digest != vocabulary.digest:
        raise UserError(
            f"config.init_from={init_from}: its tokenizer has the digest "
            f"{opened.vocabulary.digest}, but config.data was prepared with {vocabulary.digest}; "
            f"prepare the data with config.vocabulary.path={init_from}"
        )
    return opened.parameters(abstract)


def require_shape(init_from: str, initial: ModelConfig, model: ModelConfig) -> None:
    """Raise UserError unless a run's model has the shape of the model that it starts from.

    Args:
        init_from: path of the other model, for the message.
        initial: shape of the other model.
        model: the run's model, `vocab_size` resolved.
    """
    _require_same(init_from, initial, model, _SHAPE_KEYS)


def _require_same(
    init_from: str, initial: ModelConfig, model: ModelConfig, keys: Iterable[str]
) -> None:
    for key in keys:
        expected, actual = getattr(model, key), getattr(initial, key)
        if expected != actual:
            raise UserError(
                f"config.init_from={init_from}: its {key} is {actual!r}, but config.model.{key} is "
                f"{expected!r}; set config.model.{key}={actual!r}"
            )
