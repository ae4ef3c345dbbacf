"""A Hugging Face folder opened for reading: config, vocabulary and weights that fit together."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import config_json, load, tensor_check
from teacherlm_jax.hf.lazy_tensor import StoredTensor
from teacherlm_jax.hf.tensor_names import TensorSlot
from teacherlm_jax.hf.weights import holds_weights, open_weights, refuse_parts
from teacherlm_jax.runs import layout
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import atomic_folder, files, ranges
from teacherlm_jax.tokenization.sentencepiece import SentencePiece
from teacherlm_jax.tokenization.vocabulary import DESCRIPTION, Vocabulary, open_vocabulary

_TOKENIZER = "tokenizer.json"
# Keys of a ModelConfig that say how a model is run and not what it is.
_NOT_IDENTITY = ("dtype", "param_dtype", "remat", "attention")


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A model in a Hugging Face folder; its parameters are still on disk.

    Attributes:
        path: the folder.
        config: the model's shape; compute dtype and attention are our defaults.
        vocabulary: of its tokens.
        tensors: every tensor of the model, with its place in our parameters.
    """

    path: epath.Path
    config: ModelConfig
    vocabulary: Vocabulary
    tensors: tuple[tuple[TensorSlot, StoredTensor], ...]

    @property
    def weight_files(self) -> list[epath.Path]:
        """The files that hold the tensors, sorted by name."""
        return sorted({tensor.file for _, tensor in self.tensors})

    @property
    def dropped_prefix(self) -> str:
        """Return the prefix that a wrapper added to the tensor names, such as `module.`."""
        names = (tensor.name for _, tensor in self.tensors)
        return tensor_check.wrapper_prefix(self.config.family, names)

    @property
    def digest(self) -> str:
        """`sha256:…` of the model's shape and the bytes of its weight files, which are read."""
        shape = dataclasses.asdict(self.config)
        for key in _NOT_IDENTITY:
            del shape[key]
        weights = sorted(_file_digest(file, ranges.version(file)) for file in self.weight_files)
        text = json.dumps({"model": shape, "weights": weights}, sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def parameters(self, abstract: Tree, on_tensor: Callable[[], None] = lambda: None) -> Tree:
        """Return the parameters with the shapes, dtypes and shardings of `abstract`.

        `on_tensor` is called after each tensor. See `load.load` for how they are read.
        """
        return load.load(self.tensors, abstract, on_tensor)


def is_model_folder(folder: epath.Path, keys: Mapping[str, Any]) -> bool:
    """Return whether `folder` is a Hugging Face folder and not a run folder or a checkpoint.

    `keys`: the content of its config.json, see `read_config`.
    """
    if "model_type" in keys:
        return True
    if "verb" in keys or (folder / layout.CHECKPOINTS).is_dir():
        return False
    return (folder / config_json.FILE).exists() or holds_weights(folder)


def read_config(folder: epath.Path) -> Mapping[str, Any]:
    """Return the folder's config.json; empty when there is none, or it is not a JSON object."""
    try:
        content = files.read_json(folder / config_json.FILE)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def open_model(folder: epath.Path, param_dtype: str = "float32") -> ModelFolder:
    """Open a Hugging Face folder; its parameters will be in `param_dtype`.

    Everything but the numbers is checked: the config, the tokenizer and its special ids, and name,
    shape and dtype of every tensor. Raises UserError naming the file at fault.
    """
    atomic_folder.refuse_partial(folder)
    refuse_parts(folder)
    config = config_json.read(folder, param_dtype)
    vocabulary = _open_vocabulary(folder)
    if vocabulary.size > config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {vocabulary.size} ids, but the embedding has only "
            f"{config.vocab_size} rows (vocab_size in {config_json.FILE}); copy both from one "
            "checkpoint"
        )
    config_json.refuse_other_ids(folder, vocabulary)
    tensors = tensor_check.matched(folder, config, open_weights(folder))
    return ModelFolder(folder, config, vocabulary, tuple(tensors))


def _open_vocabulary(folder: epath.Path) -> Vocabulary:
    tokenizer = folder / _TOKENIZER
    if not (folder / DESCRIPTION).exists() and tokenizer.is_file():
        content = files.read_json(tokenizer)
        model = content.get("model") if isinstance(content, dict) else None
        if isinstance(model, dict) and model.get("byte_fallback") is True:
            raise UserError(
                f"{tokenizer}: was exported from a SentencePiece vocabulary, which transformers "
                f"does not save; copy {DESCRIPTION} and {SentencePiece.filename} from the exported "
                f"folder, or from {layout.VOCABULARY}/ of the run, into {folder}"
            )
    return open_vocabulary(folder)


@functools.lru_cache(maxsize=1024)
def _file_digest(path: epath.Path, version: str) -> str:
    """Digest of a file; `version` notices that it was replaced meanwhile."""
    return files.file_digest(path)
