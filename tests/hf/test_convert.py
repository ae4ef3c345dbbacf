"""The verb `convert` in both directions, on folders that transformers writes and reads."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.cli import main
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import load
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, train_sentencepiece
from tests.hf.folders import (
    MESH_FLAGS,
    NORM,
    assert_same,
    cut_weights,
    edit_config,
    edit_weights,
    loaded,
    parameters,
)


def assert_same_state(folder, model):
    """Assert that the folder has the weights of the model, bit for bit and in its dtype."""
    back = AutoModelForCausalLM.from_pretrained(folder).eval()
    actual, expected = back.state_dict(), model.state_dict()
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        assert tensor.dtype == expected[name].dtype
        assert tensor.equal(expected[name]), name
    return back


def test_every_shape_survives_a_round_trip_bit_for_bit(pair, save, convert, tmp_path, torch):
    assert convert(save(pair), tmp_path / "converted", *MESH_FLAGS) == (0, "")
    converted = loaded(tmp_path / "converted")
    assert_same(parameters(converted.model), parameters(pair.model))
    assert convert(tmp_path / "converted", tmp_path / "back", *MESH_FLAGS) == (0, "")
    back = assert_same_state(tmp_path / "back", pair.reference)
    tokens = np.random.default_rng(0).integers(4, 260, (2, 20))
    with torch.no_grad():
        logits = back(torch.from_numpy(tokens)).logits
        assert torch.equal(logits, pair.reference(torch.from_numpy(tokens)).logits)
    actual = converted.model(jnp.asarray(tokens))
    np.testing.assert_allclose(actual, logits.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("stored", "converted"), [("bfloat16", "bfloat16"), ("float16", "float32")]
)
def test_smaller_dtypes_survive_a_round_trip_bit_for_bit(
    pair_of, save, convert, write_tokenizer, tmp_path, stored, converted, torch
):
    pair = pair_of("opt like 350m")
    dtype = getattr(torch, stored)
    reference = AutoModelForCausalLM.from_pretrained(save(pair), dtype=dtype)
    reference.save_pretrained(tmp_path / "small")
    write_tokenizer(tmp_path / "small", "opt")
    override = f"--config.dtype={converted}"
    assert convert(tmp_path / "small", tmp_path / "converted", override, *MESH_FLAGS)[0] == 0
    assert loaded(tmp_path / "converted").config.param_dtype == converted
    override = f"--config.dtype={'' if stored == converted else stored}"
    assert convert(tmp_path / "converted", tmp_path / "back", override, *MESH_FLAGS) == (0, "")
    assert files.read_json(tmp_path / "back" / "config.json")["torch_dtype"] == stored
    assert_same_state(tmp_path / "back", reference)


def test_bin_shards_without_prefix_and_with_a_stored_tied_head_are_converted(
    pair_of, save, convert, tmp_path, torch
):
    pair = pair_of("bloom")
    folder = save(pair)
    (folder / "model.safetensors").unlink()
    tensors = [(n.removeprefix("transformer."), t) for n, t in pair.reference.state_dict().items()]
    assert tensors[-1][0] == "lm_head.weight"
    shard_of = {}
    for number, part in enumerate((tensors[:9], tensors[9:])):
        torch.save(dict(part), folder / f"pytorch_model-{number}.bin")
        shard_of |= {name: f"pytorch_model-{number}.bin" for name, _ in part}
    files.write_json(folder / "pytorch_model.bin.index.json", {"weight_map": shard_of})
    assert convert(folder, tmp_path / "converted", *MESH_FLAGS) == (0, "")
    assert_same(parameters(loaded(tmp_path / "converted").model), parameters(pair.model))


def test_shards_written_by_transformers_are_read(pair_of, save, convert, tmp_path):
    pair = pair_of("opt")
    folder = save(pair, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    assert convert(folder, tmp_path / "converted", *MESH_FLAGS) == (0, "")
    assert_same(parameters(loaded(tmp_path / "converted").model), parameters(pair.model))


def test_an_export_has_exactly_the_files_that_transformers_needs(pair_of, save, convert, tmp_path):
    assert convert(save(pair_of("opt")), tmp_path / "converted", *MESH_FLAGS)[0] == 0
    step = tmp_path / "converted" / "checkpoints" / "0"
    assert convert(step, tmp_path / "back", *MESH_FLAGS) == (0, "")
    assert {path.name for path in (tmp_path / "back").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json", "vocabulary.json",
    }  # fmt: skip
    config = files.read_json(tmp_path / "back" / "config.json")
    assert config["architectures"] == ["OPTForCausalLM"]
    assert (config["torch_dtype"], config["tie_word_embeddings"]) == ("float32", True)
    generation = GenerationConfig.from_pretrained(tmp_path / "back")
    for written in (config, generation.to_dict()):
        ids = [written[f"{name}_token_id"] for name in ("bos", "eos", "pad")]
        assert ids == [2, 2, 1]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "back")
    vocabulary = Vocabulary.load(tmp_path / "converted" / "vocabulary")
    assert tokenizer("Q: 1")["input_ids"] == [*vocabulary.begin, *vocabulary.encode("Q: 1")]


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("name", ["bloom", "opt"])
def test_a_model_trained_here_keeps_its_digest_in_a_round_trip(name, convert, tmp_path):
    run = tmp_path / "run"
    vocabulary = train_sentencepiece(["one two three"] * 9, run / "vocabulary", size=400, seed=0)
    positions = 40 if name == "opt" else 0
    config = ModelConfig(name, 2, 32, 4, vocab_size=408, max_positions=positions)
    params = nnx.to_pure_dict(nnx.state(registry.build(config, nnx.Rngs(0))))
    checkpoints = Checkpoints(run, keep=1)
    meta = {"model": vars(config), "vocabulary": vocabulary.digest}
    checkpoints.save(7, params, {"step": jnp.int32(7)}, meta)
    checkpoints.close()
    assert convert(run, tmp_path / "hf", *MESH_FLAGS) == (0, "")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("two one")["input_ids"] == vocabulary.encode("two one")
    assert (model.config.eos_token_id, model.config.pad_token_id) == (vocabulary.eos_id, 0)
    assert convert(tmp_path / "hf", tmp_path / "converted", *MESH_FLAGS) == (0, "")
    after, before = loaded(tmp_path / "converted"), loaded(run)
    assert (after.digest, after.config) == (before.digest, before.config)
    assert (after.vocabulary.digest, after.step) == (vocabulary.digest, 0)


def test_the_weight_files_and_a_dropped_prefix_are_logged(
    pair_of, save, convert, tmp_path, capsys, torch
):
    pair = pair_of("bloom")
    folder = save(pair)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    state = {f"module.{name}": tensor for name, tensor in pair.reference.state_dict().items()}
    torch.save(state, folder / "pytorch_model.bin")
    assert main.main(["convert", str(folder), str(tmp_path / "converted"), *MESH_FLAGS]) == 0
    shown = capsys.readouterr().out
    assert "reading pytorch_model.bin\n" in shown
    assert "removed the prefix 'module.' from tensor names" in shown
    assert_same(parameters(loaded(tmp_path / "converted").model), parameters(pair.model))


def test_the_storage_and_compute_dtypes_are_logged(pair_of, save, convert, tmp_path, capsys):
    source, converted = save(pair_of("bloom")), tmp_path / "converted"
    override = "--config.dtype=bfloat16"
    assert main.main(["convert", str(source), str(converted), override, *MESH_FLAGS]) == 0
    shown = capsys.readouterr().out
    assert "parameters stored in bfloat16 (config.dtype); the model computes in bfloat16" in shown
    assert main.main(["convert", str(converted), str(tmp_path / "back"), *MESH_FLAGS]) == 0
    assert "weights stored in bfloat16 (config.dtype, torch_dtype in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "overrides", "message"),
    [
        (edit_weights(lambda t: t.pop(NORM)), (), "h.1.input_layernorm.weight of shape [32] is mi"),
        (edit_weights(lambda t: t.update({"x": t[NORM].clone()})), (), "x of shape [32] has no pl"),
        (
            edit_weights(lambda t: t.update({NORM: t[NORM][:31].clone()})),
            (),
            f"{NORM} has the shape [31], but config.json implies [32]",
        ),
        (cut_weights, (), "model.safetensors: is truncated: transformer."),
        (
            edit_config(hidden_size=64),
            (),
            "has the shape [288, 32], but config.json implies [288, 64]",
        ),
        (edit_config(model_type="gpt2"), (), "model_type is 'gpt2'"),
        (
            edit_config(vocab_size=256),
            (),
            "the tokenizer has 260 ids, but the embedding has only 256 rows",
        ),
        (lambda folder: (folder / "config.json").unlink(), (), "hf/config.json: no such file"),
        (
            lambda folder: (folder / "vocab.json").unlink(),
            (),
            "hf: no vocabulary in this folder",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), (), "hf: holds no weights"),
        (
            lambda folder: None,
            ("--config.dtype=float16",),
            "config.dtype: 'float16' is for exports; parameters of a run are",
        ),
        (lambda folder: None, ("--config.mesh.tensor=8",), "'heads' of size 4 is not divisible by"),
        (lambda folder: None, ("--config.shard=8",), "--config.shard: unknown key"),
    ],
)
def test_an_invalid_source_is_refused_before_anything_is_written(
    pair_of, save, convert, tmp_path, damage, overrides, message
):
    source = save(pair_of("bloom"))
    damage(source)
    status, shown = convert(source, tmp_path / "converted", *overrides)
    assert (status, shown.count("\n")) == (2, 1)
    assert message in shown
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_sources_of_neither_layout_are_refused(convert, tmp_path):
    assert "no such folder" in convert(tmp_path / "absent", tmp_path / "out")[1]
    (tmp_path / "empty").mkdir()
    assert "empty: not a model; expected a run folder" in convert(
        tmp_path / "empty", tmp_path / "out"
    )[1]  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_not_empty_is_refused_and_unchanged(pair_of, save, convert, tmp_path):
    source = save(pair_of("bloom"))
    assert convert(source, tmp_path / "converted", *MESH_FLAGS)[0] == 0
    for other in (source, tmp_path / "converted"):
        before = sorted(path.name for path in other.iterdir())
        status, message = convert(tmp_path / "converted", other, *MESH_FLAGS)
        assert (status, "already exists" in message) == (2, True)
        assert sorted(path.name for path in other.iterdir()) == before
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "config.json").write_text(json.dumps({"verb": "train"}))
    assert "already exists" in convert(source, tmp_path / "existing", *MESH_FLAGS)[1]
    message = convert(source, tmp_path / "converted", "--config.dtype=bfloat16", *MESH_FLAGS)[1]
    assert "config.dtype='float32'" in message or "config.dtype=''" in message


def test_an_interrupted_import_is_not_a_model_until_the_command_is_repeated(
    pair_of, save, convert, tmp_path, monkeypatch
):
    source = save(pair_of("opt"))

    def interrupted(pairs, *rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(load, "load", interrupted)
        assert convert(source, tmp_path / "converted", *MESH_FLAGS)[0] == 130
    assert not (tmp_path / "converted" / "result.json").exists()
    with pytest.raises(UserError, match="has no complete checkpoint"):
        loaded(tmp_path / "converted")
    _, message = convert(tmp_path / "converted", tmp_path / "back", *MESH_FLAGS)
    assert "has no complete checkpoint" in message
    assert convert(source, tmp_path / "converted", *MESH_FLAGS) == (0, "")
    result = files.read_json(tmp_path / "converted" / "result.json")
    assert result["parameters"] == sum(x.size for x in jax.tree.leaves(parameters(
        loaded(tmp_path / "converted").model)))  # fmt: skip
    monkeypatch.setattr(load, "load", interrupted)  # a whole one is not made again
    assert convert(source, tmp_path / "converted", *MESH_FLAGS) == (0, "")


def test_an_interrupted_export_leaves_no_folder(pair_of, save, convert, tmp_path, monkeypatch):
    assert convert(save(pair_of("bloom")), tmp_path / "converted", *MESH_FLAGS)[0] == 0

    def interrupted(self, folder):
        assert (folder / "model.safetensors").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(Vocabulary, "save_pretrained", interrupted)
    assert convert(tmp_path / "converted", tmp_path / "back", *MESH_FLAGS)[0] == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted", "hf"]


def test_a_damaged_checkpoint_is_refused_before_anything_is_written(
    pair_of, save, convert, tmp_path
):
    assert convert(save(pair_of("bloom")), tmp_path / "converted", *MESH_FLAGS)[0] == 0
    shutil.rmtree(tmp_path / "converted" / "checkpoints" / "0" / "params")
    status, message = convert(tmp_path / "converted", tmp_path / "back", *MESH_FLAGS)
    assert status == 2
    assert "checkpoints/0: incomplete checkpoint, params cannot be read" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted", "hf"]


def test_help_and_a_wrong_number_of_folders(convert, capsys):
    assert main.main(["convert", "--help"]) == 0
    shown = capsys.readouterr().out
    assert (
        "teacherlm convert SRC DST [--config=FILE.py[:VARIANT]] [--config.KEY=VALUE ...]" in shown
    )
    assert "--config.shard_megabytes=INT  (default: 5000" in shown
    assert main.main(["convert", "one"]) == 2
    assert capsys.readouterr().err == "teacherlm: expected SRC DST, got 'one'\n"
