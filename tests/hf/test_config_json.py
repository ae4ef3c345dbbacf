import re

import pytest
from transformers import AutoConfig

from benchmarks import pairs
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import config_json
from teacherlm_jax.models.registry import SHAPES
from teacherlm_jax.storage import files

# The config.json files of published models, including keys of old versions.
BLOOM_560M = {
    "apply_residual_connection_post_layernorm": False,
    "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_dropout": 0.0,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "bloom",
    "n_embed": 1024,
    "n_inner": None,
    "n_layer": 24,
    "num_attention_heads": 16,
    "offset_alibi": 100,
    "pretraining_tp": 1,
    "seq_length": 2048,
    "use_cache": True,
    "vocab_size": 250880,
}
OPT_350M = {
    "_remove_final_layer_norm": False,
    "activation_dropout": 0.0,
    "activation_function": "relu",
    "attention_dropout": 0.0,
    "do_layer_norm_before": False,
    "dropout": 0.1,
    "ffn_dim": 4096,
    "hidden_size": 1024,
    "init_std": 0.02,
    "layerdrop": 0.0,
    "max_position_embeddings": 2048,
    "model_type": "opt",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "vocab_size": 50272,
    "word_embed_proj_dim": 512,
}


@pytest.fixture
def read(tmp_path):
    def from_values(values, dtype="float32"):
        files.write_json(tmp_path / "config.json", values)
        return config_json.read(tmp_path, dtype)

    return from_values


def test_published_configs_are_read_correctly(read):
    assert read(BLOOM_560M) == SHAPES["bloom-560m"]
    assert read(OPT_350M) == SHAPES["opt-350m"]
    assert read(BLOOM_560M, "bfloat16").param_dtype == "bfloat16"


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_survives_a_round_trip_and_is_read_correctly_by_transformers(
    read, name, tmp_path
):
    description = config_json.described(SHAPES[name])
    assert read(description) == SHAPES[name]
    actual, expected = AutoConfig.from_pretrained(tmp_path), pairs.hf_config(SHAPES[name])
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        assert getattr(actual, key) == getattr(expected, key)
    assert actual.tie_word_embeddings
    if SHAPES[name].family == "opt":
        for key in ("ffn_dim", "word_embed_proj_dim", "do_layer_norm_before"):
            assert getattr(actual, key) == getattr(expected, key)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (
            BLOOM_560M,
            {"model_type": "gpt2"},
            "model_type is 'gpt2'; expected 'bloom' or 'opt'",
        ),
        (BLOOM_560M, {"model_type": None}, "model_type is None"),
        (
            BLOOM_560M,
            {"apply_residual_connection_post_layernorm": True},
            "apply_residual_connection_post_layernorm is true, but only false is implemented",
        ),
        (BLOOM_560M, {"n_inner": 2048}, "n_inner is 2048, but only 4096 is implemented"),
        (BLOOM_560M, {"quantization_config": {"bits": 8}}, 'quantization_config is {"bits": 8}'),
        (BLOOM_560M, {"n_layer": None}, "has no n_layer or num_hidden_layers"),
        (BLOOM_560M, {"n_layer": "24"}, "n_layer is '24', expected int"),
        (BLOOM_560M, {"n_layer": 0}, "layers: 0 is not in [1, inf)"),
        (BLOOM_560M, {"num_attention_heads": 17}, "1024 is not divisible by heads=17"),
        (BLOOM_560M, {"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes', expected bool"),
        (OPT_350M, {"activation_function": "gelu"}, 'activation_function is "gelu"'),
        (OPT_350M, {"ffn_dim": 2048}, "ffn_dim is 2048, but only 4096 is implemented"),
        (OPT_350M, {"enable_bias": False}, "enable_bias is false"),
        (OPT_350M, {"layer_norm_elementwise_affine": False}, "elementwise_affine is false"),
        (OPT_350M, {"_remove_final_layer_norm": True}, "_remove_final_layer_norm is true"),
    ],
)
def test_unsupported_settings_are_refused_by_key(read, model, changes, message, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read(model | changes)
    assert str(tmp_path / "config.json") in str(raised.value)


def test_a_file_without_a_json_object_is_refused(read):
    with pytest.raises(UserError, match="expected a JSON object, got list"):
        read([])


@pytest.mark.parametrize(
    "content", ['{"n_layer": ' + "[" * 100_000, '{"n_layer": ' + "9" * 5000 + "}"]
)
def test_json_that_cannot_be_read_is_refused_by_file(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="config.json: not JSON that can be read"):
        config_json.read(tmp_path, "float32")


def test_a_model_that_config_json_cannot_describe_is_refused():
    model = ModelConfig("opt", max_positions=8, vocab_size=9, layer_norm_epsilon=1e-6)
    with pytest.raises(
        UserError, match="layer_norm_epsilon=1e-06: OPT in the Hugging Face format always has 1e-05"
    ):
        config_json.described(model)
