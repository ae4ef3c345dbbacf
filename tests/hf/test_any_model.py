"""Loading of models by all kinds of paths."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import capacity, sharding
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model, model_folder
from teacherlm_jax.storage import files


@pytest.fixture
def mesh():
    return sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


@pytest.fixture
def hf_folder(save, pair_of):
    return save(pair_of("bloom"))


@pytest.fixture
def converted(hf_folder, convert, tmp_path):
    assert convert(hf_folder, tmp_path / "run") == (0, "")
    return tmp_path / "run"


def parameters(loaded):
    return jax.tree.leaves(nnx.to_pure_dict(nnx.state(loaded.model)))


def test_a_hugging_face_folder_and_its_conversion_are_the_same_model(hf_folder, converted, mesh):
    first, second = any_model.load(hf_folder, mesh), any_model.load(converted, mesh)
    for actual, expected in zip(parameters(first), parameters(second), strict=True):
        np.testing.assert_array_equal(actual, expected)
        assert actual.sharding.is_equivalent_to(expected.sharding, actual.ndim)
    assert (first.config, first.step) == (second.config, second.step)
    assert first.vocabulary.digest == second.vocabulary.digest


@pytest.mark.parametrize("path", ["hf", "run", "run/checkpoints/0"])
def test_a_description_agrees_with_the_loaded_model(converted, tmp_path, mesh, path):
    described, loaded = any_model.describe(tmp_path / path), any_model.load(tmp_path / path, mesh)
    for name in ("config", "step", "digest"):
        assert getattr(described, name) == getattr(loaded, name)
    assert described.vocabulary.digest == loaded.vocabulary.digest
    again = any_model.describe(described.path)
    assert (again.path, again.digest) == (described.path, described.digest)


@pytest.mark.parametrize("path", ["hf", "run", "run/checkpoints/0"])
def test_the_kind_of_a_model_is_found_by_reading_its_config_once(
    converted, tmp_path, mesh, monkeypatch, path
):
    folders, read_config = [], model_folder.read_config
    monkeypatch.setattr(
        model_folder, "read_config", lambda folder: folders.append(folder) or read_config(folder)
    )
    any_model.describe(tmp_path / path)
    any_model.load(tmp_path / path, mesh)
    assert folders == [tmp_path / path] * 2


def test_the_best_checkpoint_can_be_named_as_best(converted, mesh):
    config = files.read_json(converted / "config.json")
    config["config"]["validation"] = {"metric": "loss"}
    files.write_json(converted / "config.json", config)
    (converted / "validation.jsonl").write_text(json.dumps({"step": 0, "loss": 1.0}) + "\n")
    described = any_model.describe(converted / "checkpoints" / "best")
    assert described.path == converted / "checkpoints" / "0"
    assert described.digest == any_model.load(converted / "checkpoints" / "best", mesh).digest


@pytest.mark.parametrize("path", ["hf", "run"])
def test_a_model_is_loaded_with_the_requested_dtype_and_attention(converted, tmp_path, mesh, path):
    assert any_model.load(tmp_path / path, mesh).config.dtype == "bfloat16"
    loaded = any_model.load(tmp_path / path, mesh, dtype="float32", attention="blockwise")
    assert (loaded.config.dtype, loaded.config.attention) == ("float32", "blockwise")
    assert (loaded.model.dtype, loaded.model.attention) == ("float32", "blockwise")


@pytest.mark.parametrize("path", ["hf", "run"])
def test_parameters_are_stored_in_the_compute_dtype_with_the_same_results(
    converted, tmp_path, pair_of, path
):
    one_device = sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])
    loaded = any_model.load(tmp_path / path, one_device, dtype="bfloat16")
    for names, parameter in nnx.to_flat_state(nnx.state(loaded.model)):
        in_norm = any("norm" in name for name in names)
        assert parameter.get_value().dtype == ("float32" if in_norm else "bfloat16")
    model = pair_of("bloom").model  # float32 parameters
    graph, state = nnx.split(model)
    again = nnx.merge(graph, state)
    again.dtype = "bfloat16"
    tokens = jnp.arange(20)[None] + 4
    np.testing.assert_array_equal(loaded.model(tokens), again(tokens))


def test_a_hugging_face_folder_gives_the_logits_of_its_model(hf_folder, pair_of):
    one_device = sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])
    tokens = jnp.arange(20)[None] + 4
    actual = any_model.load(hf_folder, one_device, dtype="float32").model(tokens)
    np.testing.assert_array_equal(actual, pair_of("bloom").model(tokens))


def test_a_digest_depends_on_the_weights_and_not_on_file_names(hf_folder, tmp_path):
    before = any_model.describe(hf_folder).digest
    weights = hf_folder / "model.safetensors"
    moved = hf_folder.rename(tmp_path / "moved")
    (moved / weights.name).rename(moved / "model-00001-of-00001.safetensors")
    files.write_json(moved / "config.json", files.read_json(moved / "config.json") | {"x": 1})
    assert any_model.describe(moved).digest == before
    content = (moved / "model-00001-of-00001.safetensors").read_bytes()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    (moved / "model-00001-of-00001.safetensors").write_bytes(changed)
    assert any_model.describe(moved).digest != before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent", "absent: no such folder; expected a run folder with checkpoints/"),
        ("empty", "empty: not a model; expected a run folder with checkpoints/"),
        ("run/checkpoints", "run/checkpoints: not a model; expected a run folder"),
        ("run/checkpoints/9", "9: no such checkpoint; .*run has the steps 0"),
        ("absent/checkpoints/9", "absent: no such folder"),
    ],
)
def test_a_path_without_a_model_is_refused_with_the_valid_kinds_of_paths(
    converted, tmp_path, mesh, path, message
):
    (tmp_path / "empty").mkdir()
    for open_path in (any_model.describe, lambda path: any_model.load(path, mesh)):
        with pytest.raises(UserError, match=message):
            open_path(tmp_path / path)


@pytest.mark.parametrize("kind", ["hf", "run"])
def test_a_model_too_large_for_a_device_is_refused_before_its_parameters_are_read(
    hf_folder, convert, tmp_path, monkeypatch, kind
):
    """The eight simulated devices share one memory, which has less than a copy for each."""
    mesh = sharding.make_mesh(MeshConfig(data=8))
    assert convert(hf_folder, tmp_path / "run") == (0, "")
    size = 8 * sum(
        leaf.nbytes for leaf in parameters(any_model.load(tmp_path / kind, mesh, dtype="float32"))
    )
    monkeypatch.setattr(capacity, "available", lambda device: size)
    any_model.load(tmp_path / kind, mesh, dtype="float32")

    monkeypatch.setattr(capacity, "available", lambda device: size - 1)
    for reader in (model_folder.ModelFolder, Checkpoints):
        name = "parameters" if reader is model_folder.ModelFolder else "params"
        monkeypatch.setattr(reader, name, lambda *_: pytest.fail("read"))
    gib = re.escape(f"{size / 2**30:.3g} GiB")
    narrower = r"convert it with --config\.dtype=bfloat16, which halves this, "
    with pytest.raises(
        UserError,
        match=rf"{tmp_path / kind}: its parameters need {gib} per device in float32, but cpu has "
        rf"{gib}; use a smaller model, {narrower if kind == 'hf' else ''}or use a machine with",
    ):
        any_model.load(tmp_path / kind, mesh, dtype="float32")


def test_a_model_too_large_in_float32_fits_after_converting_it_to_bfloat16(
    hf_folder, convert, tmp_path, monkeypatch
):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    size = sum(leaf.nbytes for leaf in parameters(any_model.load(hf_folder, mesh, dtype="float32")))
    monkeypatch.setattr(capacity, "available", lambda device: size - 1)
    with pytest.raises(UserError, match=r"convert it with --config\.dtype=bfloat16"):
        any_model.load(hf_folder, mesh, dtype="float32")
    assert convert(hf_folder, tmp_path / "run", "--config.dtype=bfloat16") == (0, "")
    any_model.load(tmp_path / "run", mesh, dtype="float32")
