"""The parameters that a run begins with, when another model gives them."""

import dataclasses
from pathlib import Path

from teacherlm_jax.checkpoints import store
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import config_json, load, tensor_check
from teacherlm_jax.hf.weights import holds_weights, open_weights
from teacherlm_jax.runs import layout
from teacherlm_jax.sharding import Tree
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary

_OF_THE_SHAPE = (
    "family",
    "layers",
    "width",
    "heads",
    "vocab_size",
    "embedding_width",
    "max_positions",
    "norm",
    "tied",
)


def warm_start(init_from: str, model: ModelConfig, vocabulary: Vocabulary, abstract: Tree) -> Tree:
    """Parameters of another run's checkpoint, or of a folder of Hugging Face's config_json.

    Args:
        init_from: see `checkpoint.open_checkpoint`; or a folder with config.json and weights, which
            are read straight to their places on the mesh.
        model: the run's, `vocab_size` resolved.
        vocabulary: of the run's data, which must be that of the source.
        abstract: shapes, dtypes and shardings that the parameters get.

    Raises UserError for a source that is not there, is damaged, or is of another shape or
    vocabulary.
    """
    folder = Path(init_from)
    if (folder / config_json.FILE).exists() and holds_weights(folder):
        return _from_their_layout(folder, model, vocabulary, abstract)
    source, step = store.open_checkpoint(init_from)
    found = source.meta(step)["vocabulary"]
    if found != vocabulary.digest:
        raise UserError(
            f"config.init_from={init_from}: was trained with the vocabulary {found}, config.data "
            f"has {vocabulary.digest}; prepare the data with {source.run / layout.VOCABULARY}"
        )
    params = source.params(step, abstract, cast=True)
    source.close()
    return params


def _from_their_layout(
    folder: Path, model: ModelConfig, vocabulary: Vocabulary, abstract: Tree
) -> Tree:
    theirs = config_json.read(folder, model.param_dtype)
    for name in _OF_THE_SHAPE:
        wanted, found = getattr(model, name), getattr(theirs, name)
        if wanted != found:
            raise UserError(
                f"config.init_from={folder}: its {name} is {found!r}, config.model.{name} is "
                f"{wanted!r}; give config.model the shape of that model"
            )
    digest = open_vocabulary(folder).digest
    if digest != vocabulary.digest:
        raise UserError(
            f"config.init_from={folder}: its tokenizer's digest is {digest}, config.data was "
            f"prepared with {vocabulary.digest}; prepare the data with that tokenizer"
        )
    described = dataclasses.replace(theirs, param_dtype=model.param_dtype)
    pairs = tensor_check.matched(folder, described, open_weights(folder))
    return load.load(pairs, abstract, lambda: None)
