"""A small random BLOOM of transformers, and the same weights in ours."""

import functools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import BloomConfig, BloomForCausalLM

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models import registry

VOCABULARY = 96


def _pair(heads: int) -> SimpleNamespace:
    width, layers = 8 * heads, 2
    torch.manual_seed(heads)
    theirs = BloomForCausalLM(
        BloomConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            n_layer=layers,
            n_head=heads,
            initializer_range=0.2,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            eos_token_id=1,
            pad_token_id=0,
        )
    ).eval()
    with torch.no_grad():  # biases and norms start at zeros and ones, which would hide errors
        for name, parameter in theirs.named_parameters():
            if "layernorm" in name or "ln_f" in name or name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    config = ModelConfig(
        layers=layers, width=width, heads=heads, vocab_size=VOCABULARY, dtype="float32"
    )
    ours = registry.build(config, nnx.Rngs(0))
    _copy(theirs.state_dict(), ours)
    return SimpleNamespace(config=config, ours=ours, theirs=theirs)


def _copy(weights: dict[str, torch.Tensor], ours) -> None:
    def tensor(name):
        return weights[f"transformer.{name}"].numpy()

    def stacked(name, layers):
        return np.stack([tensor(f"h.{layer}.{name}") for layer in range(layers)])

    def put(param, value, transpose=False):
        value = np.swapaxes(value, -1, -2) if transpose else value
        param.set_value(jnp.asarray(value.reshape(param.get_value().shape)))

    blocks, layers = ours.blocks, ours.layers
    put(ours.embedding, tensor("word_embeddings.weight"))
    for norm, name in [
        (ours.embedding_norm, "word_embeddings_layernorm"),
        (ours.final_norm, "ln_f"),
    ]:
        put(norm.scale, tensor(f"{name}.weight"))
        put(norm.bias, tensor(f"{name}.bias"))
    for norm, name in [
        (blocks.attention_norm, "input_layernorm"),
        (blocks.mlp_norm, "post_attention_layernorm"),
    ]:
        put(norm.scale, stacked(f"{name}.weight", layers))
        put(norm.bias, stacked(f"{name}.bias", layers))
    for projection, name in [
        (blocks.query_key_value, "self_attention.query_key_value"),
        (blocks.attention_output, "self_attention.dense"),
        (blocks.up, "mlp.dense_h_to_4h"),
        (blocks.down, "mlp.dense_4h_to_h"),
    ]:
        put(projection.kernel, stacked(f"{name}.weight", layers), transpose=True)
        put(projection.bias, stacked(f"{name}.bias", layers))


@pytest.fixture(scope="session")
def bloom_pair():
    """`bloom_pair(heads)`: .config, .ours and .theirs with the same weights."""
    return functools.cache(_pair)
