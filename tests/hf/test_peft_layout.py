"""Export of LoRA runs: merged for transformers, and in the layout of PEFT."""

import jax.numpy as jnp
import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from teacherlm_jax.config import LoraConfig
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files
from tests.hf.adapted import load, write_run

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")
peft = pytest.importorskip("peft", reason="needs torch: requirements-torch.txt")

# PEFT uses a name that transformers 5 has replaced.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

TOKENS = np.random.default_rng(0).integers(4, 260, (2, 20))
TOLERANCE = 1e-4
LORA = LoraConfig(rank=3, alpha=5.5)


def logits_of(reference):
    with torch.no_grad():
        return reference.eval()(torch.from_numpy(TOKENS)).logits.numpy()


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["bloom", "opt", "opt like 350m"])
def test_transformers_and_peft_compute_the_logits_of_a_lora_run(
    pair_of, save, convert, tmp_path, name
):
    pair = pair_of(name)
    base, run = save(pair), write_run(tmp_path / "run", tmp_path / "hf", LORA)
    expected = load(run).model(jnp.asarray(TOKENS))
    assert np.abs(expected - logits_of(pair.reference)).max() > 100 * TOLERANCE

    assert convert(run, tmp_path / "merged") == (0, "")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    close(logits_of(merged), expected)

    assert convert(run, tmp_path / "peft", "--config.adapters=peft") == (0, "")
    assert {path.name for path in (tmp_path / "peft").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    reference = AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.PeftModel.from_pretrained(reference, tmp_path / "peft")
    assert len(adapted.peft_config["default"].target_modules) == (4 if name == "bloom" else 6)
    close(logits_of(adapted), expected)
    whole = adapted.merge_and_unload().state_dict()
    for key, tensor in merged.state_dict().items():
        torch.testing.assert_close(whole[key], tensor, rtol=0, atol=1e-6)


def test_an_export_has_only_the_targets_and_names_its_base(pair_of, save, convert, tmp_path):
    base = save(pair_of("opt"))
    lora = LoraConfig(rank=2, alpha=4.0, targets=("query_key_value",))
    run = write_run(tmp_path / "run", base, lora)
    convert(run, tmp_path / "peft", "--config.adapters=peft", "--config.dtype=bfloat16")
    config = files.read_json(tmp_path / "peft" / "adapter_config.json")
    assert config["target_modules"] == ["k_proj", "q_proj", "v_proj"]
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (2, 4, 0.0)
    assert config["base_model_name_or_path"] == str(base)
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    name = "base_model.model.model.decoder.layers.{}.self_attn.{}_proj.lora_{}.weight"
    assert set(tensors) == {
        name.format(layer, part, matrix) for layer in "01" for part in "qkv" for matrix in "AB"
    }
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    shapes = {key[-8]: tuple(tensor.shape) for key, tensor in tensors.items()}
    assert shapes == {"A": (2, 32), "B": (32, 2)}


def test_a_merged_export_is_the_model_that_init_from_reads(pair_of, save, convert, tmp_path):
    run = write_run(tmp_path / "run", save(pair_of("bloom")), LORA)
    convert(run, tmp_path / "merged", "--config.mesh.fsdp=4", "--config.mesh.tensor=2")
    expected, actual = (
        load(path).model(jnp.asarray(TOKENS)) for path in (run, tmp_path / "merged")
    )
    close(actual, expected)
    assert any_model.describe(tmp_path / "merged").lora is None


def test_adapters_of_a_model_without_adapters_are_refused(pair_of, save, convert, tmp_path):
    base = save(pair_of("bloom"))
    for source in (base, tmp_path / "imported"):
        status, errors = convert(source, tmp_path / "peft", "--config.adapters=peft")
        assert status == 2 and f"config.adapters=peft: {source} has no LoRA adapters" in errors
        assert not (tmp_path / "peft").exists()
        convert(base, tmp_path / "imported")
