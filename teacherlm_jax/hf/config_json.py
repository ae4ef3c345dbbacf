"""Conversion between a Hugging Face `config.json` and our ModelConfig.

Keys that affect the computation are read, or must have the one value that is implemented; keys for
training (dropout) and for other programs are ignored.
"""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config import ModelConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

FILE, GENERATION_FILE = "config.json", "generation_config.json"
_OPT_EPSILON = 1e-5  # epsilon of OPT's layer norms, which its config has no key for
_ARCHITECTURES = {"bloom": "BloomForCausalLM", "opt": "OPTForCausalLM"}

# The implemented values, which are also the defaults of these keys.
_BLOOM_WANTED = {"apply_residual_connection_post_layernorm": False}
_OPT_WANTED = {
    "activation_function": "relu",
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "_remove_final_layer_norm": False,
}


class _ConfigKeys:
    """The keys of one config.json; errors name file, key and value."""

    def __init__(self, path: epath.Path, values: Mapping[str, Any]):
        self._path = path
        self._values = values

    def get(self, kind: type, *names: str, default: Any = None) -> Any:
        """Return the value of the first of `names` that is set, else the default if given."""
        for name in names:
            value = self._values.get(name)
            if value is None:
                continue
            value = float(value) if kind is float and type(value) is int else value
            if type(value) is not kind:
                raise UserError(f"{self._path}: {name} is {value!r}, expected {kind.__name__}")
            return value
        if default is None:
            raise UserError(f"{self._path}: has no {' or '.join(names)}; copy the whole file")
        return default

    def want(self, name: str, wanted: Any) -> None:
        """Raise UserError unless the key is absent or has the value `wanted`."""
        found = self._values.get(name)
        if found is not None and found != wanted:
            raise UserError(
                f"{self._path}: {name} is {json.dumps(found)}, but only {json.dumps(wanted)} is "
                "implemented; this model cannot be converted"
            )


def read(folder: epath.Path, param_dtype: str) -> ModelConfig:
    """Return the model that the folder's config.json describes, with parameters in `param_dtype`.

    Raises UserError naming the key when the model is not one that is implemented.
    """
    path = folder / FILE
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(values).__name__}")
    family = values.get("model_type")
    if family not in _ARCHITECTURES:
        raise UserError(
            f"{path}: model_type is {family!r}; expected {' or '.join(map(repr, _ARCHITECTURES))}"
        )
    keys = _ConfigKeys(path, values)
    keys.want("quantization_config", None)
    config = {"bloom": _bloom, "opt": _opt}[family](keys)
    config.param_dtype = param_dtype
    for key, problem in fields.problems(config, "model"):
        raise UserError(f"{path}: describes an invalid model: {key}: {problem}")
    return config


def _bloom(keys: _ConfigKeys) -> ModelConfig:
    width = keys.get(int, "n_embed", "hidden_size")
    for name, wanted in {**_BLOOM_WANTED, "n_inner": 4 * width}.items():
        keys.want(name, wanted)
    return ModelConfig(
        "bloom",
        layers=keys.get(int, "n_layer", "num_hidden_layers"),
        width=width,
        heads=keys.get(int, "n_head", "num_attention_heads"),
        vocab_size=keys.get(int, "vocab_size"),
        tied=keys.get(bool, "tie_word_embeddings", default=True),
        layer_norm_epsilon=keys.get(float, "layer_norm_epsilon", default=1e-5),
        initializer_range=keys.get(float, "initializer_range", default=0.02),
    )


def _opt(keys: _ConfigKeys) -> ModelConfig:
    width = keys.get(int, "hidden_size")
    for name, wanted in {**_OPT_WANTED, "ffn_dim": 4 * width}.items():
        keys.want(name, wanted)
    narrow = keys.get(int, "word_embed_proj_dim", default=width)
    return ModelConfig(
        "opt",
        layers=keys.get(int, "num_hidden_layers"),
        width=width,
        heads=keys.get(int, "num_attention_heads"),
        vocab_size=keys.get(int, "vocab_size"),
        embedding_width=0 if narrow == width else narrow,
        max_positions=keys.get(int, "max_position_embeddings", default=2048),
        norm="before" if keys.get(bool, "do_layer_norm_before", default=True) else "after",
        tied=keys.get(bool, "tie_word_embeddings", default=True),
        layer_norm_epsilon=_OPT_EPSILON,
        initializer_range=keys.get(float, "init_std", default=0.02),
    )


def described(config: ModelConfig) -> dict[str, Any]:
    """Return the config.json of a model, without its dtype and its special ids.

    Raises UserError for a model that no config.json can describe.
    """
    common = {
        "architectures": [_ARCHITECTURES[config.family]],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
    }
    if config.family == "bloom":
        return {**common, **_BLOOM_WANTED, **_described_bloom(config)}
    if config.layer_norm_epsilon != _OPT_EPSILON:
        raise UserError(
            f"config.model.layer_norm_epsilon={config.layer_norm_epsilon}: OPT in the "
            f"Hugging Face format always has {_OPT_EPSILON}; this model cannot be converted"
        )
    return {**common, **_OPT_WANTED, **_described_opt(config)}


def _described_bloom(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_layer": config.layers,
        "n_head": config.heads,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "initializer_range": config.initializer_range,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
    }


def _described_opt(config: ModelConfig) -> dict[str, Any]:
    return {
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "ffn_dim": 4 * config.width,
        "max_position_embeddings": config.max_positions,
        "word_embed_proj_dim": config.embedding_width or config.width,
        "do_layer_norm_before": config.norm == "before",
        "init_std": config.initializer_range,
        "attention_dropout": 0.0,
        "dropout": 0.0,
    }


def refuse_other_ids(folder: epath.Path, vocabulary: Vocabulary) -> None:
    """Raise UserError when config.json and the tokenizer disagree on the bos or eos token.

    The pad token is not compared: many tokenizers pad with eos.
    """
    stated, named = files.read_json(folder / FILE), vocabulary.named_ids()
    for name in ("bos_token", "eos_token"):
        found, id = stated.get(f"{name}_id"), named.get(name)
        if id is not None and type(found) is int and found != id:
            raise UserError(
                f"{folder / FILE}: {name}_id is {found}, but {name} of the tokenizer has the id "
                f"{id}; copy both from one checkpoint, or correct the wrong one"
            )


def write(
    folder: epath.Path, description: Mapping[str, Any], dtype: str, vocabulary: Vocabulary
) -> None:
    """Write generation_config.json and, last, config.json, without which no folder is a model.

    `description` is the result of `described`. A vocabulary without a pad token is padded with id
    0, like our rows.
    """
    named = vocabulary.named_ids()
    ids = {
        "bos_token_id": named.get("bos_token"),
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": named.get("pad_token", vocabulary.pad_id),
    }
    files.write_json(folder / GENERATION_FILE, {"_from_model_config": True, **ids})
    # All versions of transformers understand the old name of the dtype.
    files.write_json(folder / FILE, {**description, "torch_dtype": dtype, **ids})
