import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import restore
from teacherlm_jax.checkpoints.fingerprint import digest, fingerprint
from teacherlm_jax.checkpoints.saved_model import load_model
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import MeshConfig, ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

CONFIG = ModelConfig(layers=2, width=16, heads=2, vocab_size=400)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    return train_sentencepiece(["one two three"] * 9, folder, size=400, seed=0)


@pytest.fixture(scope="module")
def params():
    return nnx.to_pure_dict(nnx.split(registry.build(CONFIG, nnx.Rngs(0)))[1])


@pytest.fixture(scope="module")
def saved(tmp_path_factory, vocabulary, params):
    run = tmp_path_factory.mktemp("run")
    vocabulary.save(run / "vocabulary")
    checkpoints = Checkpoints(run, keep=2)
    meta = {"model": vars(CONFIG), "vocabulary": vocabulary.digest}
    for step in (1, 2, 3):
        moved = jax.tree.map(lambda leaf, step=step: leaf + step, params)
        checkpoints.save(step, moved, {"step": jnp.int32(step)}, meta)
    checkpoints.close()
    return run


@pytest.fixture
def mesh():
    return sharding.make_mesh(MeshConfig())


def edit_meta(run, step, change):
    path = run / "checkpoints" / str(step) / "meta" / "metadata"
    meta = json.loads(path.read_text())
    del meta["digest"]
    change(meta)
    path.write_text(json.dumps({**meta, "digest": digest(meta)}))


@pytest.mark.parametrize("shape", [MeshConfig(), MeshConfig(data=2, fsdp=2, tensor=2)])
def test_a_model_is_restored_on_any_mesh_with_the_same_digest(saved, params, vocabulary, shape):
    mesh = sharding.make_mesh(shape)
    loaded = load_model(saved, mesh, dtype="float32")
    jax.tree.map(
        lambda restored, saved: np.testing.assert_array_equal(restored, saved + 3),
        nnx.to_pure_dict(nnx.state(loaded.model)),
        params,
    )
    assert loaded.model.embedding[...].sharding.mesh == mesh
    assert (loaded.step, loaded.config) == (3, dataclasses.replace(CONFIG, dtype="float32"))
    assert loaded.vocabulary.digest == vocabulary.digest
    assert loaded.digest == digest(fingerprint(jax.tree.map(lambda leaf: leaf + 3, params)))


def test_a_step_and_another_compute_dtype_can_be_chosen(saved, mesh):
    loaded = load_model(saved / "checkpoints" / "2", mesh, dtype="float32")
    assert loaded.step == 2
    assert loaded.config.dtype == "float32"
    assert loaded.model.hidden(*jnp.ones((3, 8, 4), jnp.int32)).dtype == jnp.float32
    assert loaded.digest != load_model(saved, mesh).digest


def test_the_newest_checkpoints_are_kept(saved):
    assert Checkpoints(saved).steps() == [2, 3]


def test_parameters_that_differ_from_those_saved_are_refused_with_a_remedy(run, mesh):
    def another_checksum(meta):
        meta["parameters"]["embedding"]["checksum"] ^= 1

    edit_meta(run, 3, another_checksum)
    with pytest.raises(UserError, match="checkpoints/3: .*wrong digest.*to resume from step 2"):
        load_model(run, mesh)
    assert load_model(run / "checkpoints" / "2", mesh).step == 2


@pytest.mark.parametrize("lost", ["params", "meta", "meta/metadata"])
def test_an_incomplete_checkpoint_is_refused_by_name(run, mesh, lost):
    path = run / "checkpoints" / "3" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match="checkpoints/3: incomplete checkpoint"):
        load_model(run, mesh)


def test_leftovers_of_an_interrupted_save_are_not_a_checkpoint(run, mesh, params):
    unfinished = run / "checkpoints" / "3.orbax-checkpoint-tmp"
    (run / "checkpoints" / "3").rename(unfinished)
    (unfinished / "commit_success.txt").unlink()  # the last thing that a save writes
    assert load_model(run, mesh).step == 2
    assert unfinished.exists()  # readers leave a writer's work alone
    checkpoints = Checkpoints(run, keep=1)
    assert checkpoints.steps() == [2]
    checkpoints.save(3, params, {"step": jnp.int32(3)}, {})
    checkpoints.close()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["3"]


def test_another_vocabulary_is_refused(run, mesh, tmp_path):
    train_sentencepiece(["four five six"] * 9, run / "vocabulary", size=400, seed=0)
    with pytest.raises(
        UserError, match="run/vocabulary: has the digest sha256:.* was trained with"
    ):
        load_model(run, mesh)


def test_a_path_without_a_checkpoint_is_refused_by_name(saved, tmp_path, mesh):
    with pytest.raises(UserError, match="absent: no such folder"):
        load_model(tmp_path / "absent", mesh)
    with pytest.raises(UserError, match="has no complete checkpoint"):
        load_model(tmp_path, mesh)
    with pytest.raises(UserError, match="checkpoints/9: no such checkpoint; .* steps 2, 3"):
        load_model(saved / "checkpoints" / "9", mesh)


def test_a_model_of_another_shape_is_refused_by_parameter_and_both_shapes(saved, mesh):
    config = ModelConfig(layers=2, width=32, heads=2, vocab_size=400)
    _, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
    message = r"blocks/\S+ in params is float32\[2, 16\], but the run expects float32\[2, 32\]"
    with pytest.raises(UserError, match=message):
        Checkpoints(saved).params(3, abstract)


def test_a_step_before_the_newest_cannot_be_saved(run, params):
    checkpoints = Checkpoints(run, keep=2)
    with pytest.raises(UserError, match=r"checkpoints/2: cannot be written.*\[2, 3\]"):
        checkpoints.save(2, params, {"step": jnp.int32(2)}, {})
    checkpoints.close()


def test_the_items_of_a_checkpoint_have_the_documented_names(saved):
    items = {path.name for path in (saved / "checkpoints" / "3").iterdir() if path.is_dir()}
    assert items == {"params", "optimizer", "meta"}


def test_truncated_parameters_are_refused_by_name_without_log_noise(run):
    for path in (run / "checkpoints/3/params/ocdbt.process_0/d").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    code = (
        "import sys\n"
        "from teacherlm_jax import config, errors, sharding\n"
        "from teacherlm_jax.checkpoints import saved_model\n"
        "try:\n"
        "    saved_model.load_model(sys.argv[1], sharding.make_mesh(config.MeshConfig()))\n"
        "except errors.UserError as error:\n"
        "    print(error)\n"
    )
    words = [sys.executable, "-c", code, str(run)]
    completed = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "checkpoints/3: incomplete checkpoint, params cannot be read" in completed.stdout
    assert "to resume from step 2" in completed.stdout
    assert completed.stderr == "", "Orbax's leftovers must not be reported"


def test_a_checkpoint_that_a_training_removes_while_it_is_read_is_not_called_incomplete(
    run, mesh, monkeypatch
):
    read = restore.arrays

    def removed(path, abstract):
        shutil.rmtree(path.parent)
        return read(path, abstract)

    monkeypatch.setattr(restore, "arrays", removed)
    with pytest.raises(UserError, match="checkpoints/3: removed while it was read; .* repeat"):
        load_model(run, mesh)


def test_another_dtype_is_not_reported_as_damage(saved, mesh):
    config = dataclasses.replace(CONFIG, param_dtype="bfloat16")
    _, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
    with pytest.raises(UserError, match=r"in params is float32\[.* the run expects bfloat16\["):
        Checkpoints(saved).params(3, abstract)


def test_an_optimizer_state_that_differs_from_the_saved_one_is_refused(run):
    def another_checksum(meta):
        meta["optimizer"]["step"]["checksum"] ^= 1

    abstract = {"step": jax.ShapeDtypeStruct((), jnp.int32)}
    assert Checkpoints(run).optimizer(3, abstract) == {"step": 3}
    edit_meta(run, 3, another_checksum)
    with pytest.raises(UserError, match="checkpoints/3: optimizer differ from what was saved"):
        Checkpoints(run).optimizer(3, abstract)


def test_parameters_of_another_dtype_are_converted_with_cast(saved, params, mesh):
    config = dataclasses.replace(CONFIG, param_dtype="bfloat16")
    _, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
    actual = Checkpoints(saved).params(3, abstract, cast=True)
    jax.tree.map(
        lambda restored, saved: np.testing.assert_array_equal(
            restored, (saved + 3).astype(jnp.bfloat16), strict=True
        ),
        actual,
        params,
    )
    config = dataclasses.replace(config, width=32)
    _, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
    with pytest.raises(
        UserError, match=r"blocks/\S+ in params is float32\[2, 16\], but the run expects"
    ):
        Checkpoints(saved).params(3, abstract, cast=True)


def test_a_checkpoint_without_optimizer_state_is_a_starting_point(
    tmp_path, vocabulary, params, mesh
):
    vocabulary.save(tmp_path / "vocabulary")
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(0, params, None, {"model": vars(CONFIG), "vocabulary": vocabulary.digest})
    checkpoints.close()
    assert load_model(tmp_path, mesh).step == 0
    with pytest.raises(UserError, match="checkpoints/0: has no optimizer state"):
        Checkpoints(tmp_path).optimizer(0, {"step": jax.ShapeDtypeStruct((), jnp.int32)})


def test_a_model_may_compute_with_another_attention_and_dtype_than_in_training(saved, mesh):
    loaded = load_model(saved, mesh, attention="blockwise", dtype="bfloat16")
    assert (loaded.config.attention, loaded.config.dtype) == ("blockwise", "bfloat16")
    assert (loaded.model.attention, loaded.model.dtype) == ("blockwise", "bfloat16")
    assert load_model(saved, mesh).config.attention == "xla"
