import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from transformers import AutoModelForCausalLM

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import config_json as layout
from teacherlm_jax.hf.save import save
from teacherlm_jax.storage import files

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")
from safetensors.torch import load_file  # noqa: E402


def parameters(pair):
    return nnx.to_pure_dict(nnx.state(pair.model))


def test_transformers_loads_all_shards_by_their_index(pair_of, tmp_path):
    pair, saved = pair_of("bloom"), []
    save(
        parameters(pair), pair.config, tmp_path,
        dtype="float32", shard_bytes=30_000, on_tensor=lambda: saved.append(1),
    )  # fmt: skip
    index = files.read_json(tmp_path / "model.safetensors.index.json")
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert [path.name for path in shards] == [
        f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)
    ]
    total = 0
    for path in shards:
        held = {name: tensor.nbytes for name, tensor in load_file(path).items()}
        assert sum(held.values()) <= 30_000 or len(held) == 1
        assert all(index["weight_map"][name] == path.name for name in held)
        total += sum(held.values())
    assert total == index["metadata"]["total_size"]
    assert len(saved) == len(index["weight_map"])
    files.write_json(tmp_path / "config.json", layout.described(pair.config))
    back, expected = AutoModelForCausalLM.from_pretrained(tmp_path), pair.reference.state_dict()
    assert all(torch.equal(back.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_to_a_smaller_dtype_matches_torch(pair_of, tmp_path, dtype):
    pair = pair_of("opt")
    save(
        parameters(pair), pair.config, tmp_path,
        dtype=dtype, shard_bytes=10**9, on_tensor=lambda: None,
    )  # fmt: skip
    expected = pair.reference.state_dict()
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, expected[name].to(getattr(torch, dtype)))


def test_a_value_too_large_for_the_dtype_is_refused_by_tensor(pair_of, tmp_path):
    params = parameters(pair_of("bloom"))
    bias = params["blocks"]["up"]["bias"]
    params["blocks"]["up"]["bias"] = bias.at[1, 3].set(70_000).at[0, 0].set(jnp.inf)
    message = "float16: transformer.h.1.mlp.dense_h_to_4h.bias has values up to 7e+04"
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        save(
            params, pair_of("bloom").config, tmp_path,
            dtype="float16", shard_bytes=10**9, on_tensor=lambda: None,
        )  # fmt: skip
    assert np.isfinite(bias).all()
