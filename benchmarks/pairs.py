"""Pairs of a transformers model and our model with the same random weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from transformers import AutoModelForCausalLM, BloomConfig, OPTConfig, PreTrainedModel

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models import registry
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training.loss import next_token_loss

Batch = Mapping[str, np.ndarray]  # tokens, positions, segment_ids: int32 [B, T]
Tree = Any
_LOSS_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Pair:
    """One model in both implementations.

    Attributes:
        config: its shape, in float32.
        reference: the model in transformers, float32, in evaluation mode.
        model: the model in JAX with the same weights.
    """

    config: ModelConfig
    reference: PreTrainedModel
    model: Decoder

    def in_dtype(self, dtype: str) -> Decoder:
        """Return the JAX model with the same float32 parameters and another compute dtype."""
        config = dataclasses.replace(self.config, dtype=dtype)
        graph = nnx.graphdef(nnx.eval_shape(lambda: registry.build(config, nnx.Rngs(0))))
        return nnx.merge(graph, nnx.state(self.model))

    def gradients(self, batch: Batch) -> tuple[Tree, Tree]:
        """Return the gradients of the mean next-token loss in JAX and in transformers.

        Both are trees of JAX parameters.

        Every row of `batch` is one text without padding.
        """
        import torch

        graph, state = nnx.split(self.model)
        masked = {**batch, "loss_mask": np.ones(batch["tokens"].shape, bool)}

        def loss(parameters):
            model = nnx.merge(graph, parameters)
            return next_token_loss(model, jax.tree.map(jnp.asarray, masked), _LOSS_BLOCK)[0]

        tokens = torch.from_numpy(batch["tokens"]).long()
        self.reference.zero_grad()
        self.reference(tokens, labels=tokens).loss.backward()
        named = dict(self.reference.named_parameters())
        expected = {name: parameter.grad.numpy() for name, parameter in named.items()}
        gradients = nnx.to_pure_dict(jax.jit(jax.grad(loss))(state))
        return gradients, parameter_tree(self.config, expected)


def make(config: ModelConfig, seed: int = 0) -> Pair:
    """Return a pair with random weights; norms and biases too, since ones and zeros hide errors."""
    import torch  # imported here, so that shapes and names can be used without it

    torch.manual_seed(seed)
    reference = AutoModelForCausalLM.from_config(hf_config(config)).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    graph, state = nnx.split(nnx.eval_shape(lambda: registry.build(config, nnx.Rngs(0))))
    weights = {name: tensor.detach().numpy() for name, tensor in reference.named_parameters()}
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, parameter_tree(config, weights)))
    return Pair(config, reference, nnx.merge(graph, state))


def hf_config(config: ModelConfig) -> BloomConfig | OPTConfig:
    """Return the transformers config of a shape; the eos id is 1, and dropout is off."""
    same = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "tie_word_embeddings": config.tied,
        "eos_token_id": 1,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    if config.family == "bloom":
        return BloomConfig(
            **same,
            layer_norm_epsilon=config.layer_norm_epsilon,
            initializer_range=config.initializer_range,
        )
    return OPTConfig(
        **same,
        ffn_dim=4 * config.width,
        max_position_embeddings=config.max_positions,
        word_embed_proj_dim=config.embedding_width or config.width,
        do_layer_norm_before=config.norm == "before",
        init_std=config.initializer_range,
        dropout=0.0,
    )


def block_names(config: ModelConfig) -> Mapping[str, str]:
    """Return transformers' names of the modules of a block, by our names."""
    return _BLOOM_BLOCK if config.family == "bloom" else _OPT_BLOCK


def parameter_tree(config: ModelConfig, named: Mapping[str, np.ndarray]) -> Tree:
    """Return transformers' tensors (weights or gradients, by name) as a tree of JAX parameters."""
    bloom = config.family == "bloom"
    root = "transformer." if bloom else "model.decoder."
    tensors = {name.removeprefix(root): tensor for name, tensor in named.items()}
    N, H = config.heads, config.width // config.heads

    def norm(name: str) -> Tree:
        return {"scale": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}

    def linear(name: str, *kernel: int, bias: tuple[int, ...]) -> Tree:
        tensor = tensors[f"{name}.weight"].T
        return {"kernel": tensor.reshape(kernel), "bias": tensors[f"{name}.bias"].reshape(bias)}

    def separate(prefix: str) -> Tree:
        three = [linear(f"{prefix}.{part}_proj", config.width, N, H, bias=(N, H)) for part in "qkv"]
        return {key: np.concatenate([part[key] for part in three], -1) for key in three[0]}

    def block(layer: int) -> Tree:
        at = f"h.{layer}." if bloom else f"layers.{layer}."
        names = block_names(config)
        D, F, fused = config.width, 4 * config.width, f"{at}self_attention.query_key_value"
        return {
            "attention_norm": norm(at + names["attention_norm"]),
            "mlp_norm": norm(at + names["mlp_norm"]),
            "query_key_value": linear(fused, D, N, 3 * H, bias=(N, 3 * H))
            if bloom
            else separate(f"{at}self_attn"),
            "attention_output": linear(at + names["attention_output"], N, H, D, bias=(D,)),
            "up": linear(at + names["up"], D, F, bias=(F,)),
            "down": linear(at + names["down"], F, D, bias=(D,)),
        }

    blocks = [block(layer) for layer in range(config.layers)]
    tree = {"blocks": jax.tree.map(lambda *layers: np.stack(layers), *blocks)}
    for name, parameter in (_BLOOM_TOP if bloom else _OPT_TOP).items():
        if f"{name}.bias" in tensors:
            tree[parameter] = norm(name)
        elif name.startswith("project") and f"{name}.weight" in tensors:
            tree[parameter] = {"kernel": tensors[f"{name}.weight"].T}
        elif f"{name}.weight" in tensors:
            tree[parameter] = tensors[f"{name}.weight"]
    return tree


_BLOOM_BLOCK = {
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "attention_output": "self_attention.dense",
    "up": "mlp.dense_h_to_4h",
    "down": "mlp.dense_4h_to_h",
}
_OPT_BLOCK = {
    "attention_norm": "self_attn_layer_norm",
    "mlp_norm": "final_layer_norm",
    "attention_output": "self_attn.out_proj",
    "up": "fc1",
    "down": "fc2",
}
_BLOOM_TOP = {
    "word_embeddings": "embedding",
    "word_embeddings_layernorm": "embedding_norm",
    "ln_f": "final_norm",
    "lm_head": "head",
}
_OPT_TOP = {
    "embed_tokens": "embedding",
    "embed_positions": "position_embedding",
    "project_in": "project_in",
    "project_out": "project_out",
    "final_layer_norm": "final_norm",
    "lm_head": "head",
}
