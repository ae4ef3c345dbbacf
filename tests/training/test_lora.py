"""LoRA: training of adapters beside a frozen base, and checkpoints that hold no copy of it."""

import dataclasses
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import kill_train, kills
from teacherlm_jax import capacity, sharding
from teacherlm_jax.config import (
    CheckpointConfig,
    LoraConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
    fields,
)
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.models import adapter
from teacherlm_jax.storage import files
from teacherlm_jax.training import setup, step_memory
from teacherlm_jax.training.flops import model_flops
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.loss import cross_entropy
from teacherlm_jax.training.setup import make_model_spec
from teacherlm_jax.training.warm_start import warm_start
from tests.make_run import make_run

LORA = LoraConfig(rank=4, alpha=8.0)
MODEL = ModelConfig(layers=2, width=16, heads=2, vocab_size=400, dtype="float32")
TOKENS = np.arange(24).reshape(2, 12)


@pytest.fixture(scope="module")
def base(prepared, tmp_path_factory):
    """Config of a run that trained a whole model for a few steps."""
    config = TrainConfig(
        output=str(tmp_path_factory.mktemp("runs") / "base"),
        data=str(prepared),
        model=MODEL,
        optimizer=OptimizerConfig(learning_rate=0.01),
        mesh=MeshConfig(data=2, fsdp=2, tensor=2),
        batch_size=8,
        steps=2,
        log_every=1,
    )
    train(config, make_run(config.output))
    return config


@pytest.fixture(scope="module")
def config(base):
    """Config of a LoRA run on the base."""
    return dataclasses.replace(
        base,
        output=base.output.replace("base", "adapted"),
        init_from=base.output,
        lora=LORA,
        optimizer=OptimizerConfig(learning_rate=0.05),
        validation=ValidationConfig(every=4, data=base.data, metric="held_out/loss"),
        checkpoint=CheckpointConfig(every=4, keep=3),
        steps=8,
    )


@pytest.fixture(scope="module")
def result(config):
    """Result of the LoRA run."""
    return train(config, make_run(config.output))


def load(path, **options):
    return any_model.load(path, sharding.make_mesh(MeshConfig(data=8)), **options)


def parameters(path):
    return jax.device_get(nnx.to_pure_dict(nnx.state(load(path).model)))


def logits(path):
    loaded = load(path)
    return np.asarray(jax.jit(lambda: loaded.model(jnp.asarray(TOKENS)))())


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_only_the_adapters_change_and_they_learn(base, config, result):
    rows = [row for _, row in files.read_jsonl(f"{config.output}/metrics.jsonl")]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.05
    own, adapters = adapter.split(parameters(config.output))
    assert_same(own, parameters(base.output))
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(adapters))
    count = adapter.size(16, 2, LORA)
    assert result["trained_parameters"] == count
    assert result["parameters"] == count + sum(leaf.size for leaf in jax.tree.leaves(own))


def test_the_base_is_loaded_in_int8_under_exact_adapters(base, config, result):
    in_int8 = load(config.output, weights="int8")
    own, adapters = adapter.split(jax.device_get(nnx.to_pure_dict(nnx.state(in_int8.model))))
    assert own["embedding"].dtype == own["blocks"]["up"]["kernel"].dtype == jnp.int8
    assert_same(adapters, adapter.split(parameters(config.output))[1])
    exact = logits(config.output)
    off = np.abs(np.asarray(in_int8.model(jnp.asarray(TOKENS))) - exact).max()
    assert 0 < off < 0.03 * np.abs(exact).max()
    assert np.abs(logits(base.output) - exact).max() > 2 * off


def test_the_first_step_has_the_loss_of_the_base(base, config, result):
    first = next(iter(files.read_jsonl(f"{config.output}/metrics.jsonl")))[1]
    full = dataclasses.replace(
        config, lora=LoraConfig(), output=f"{base.output}_full", steps=1,
        validation=ValidationConfig(), checkpoint=CheckpointConfig(),
    )  # fmt: skip
    assert train(full, make_run(full.output))["loss"] == first["loss"]


def test_a_checkpoint_holds_adapters_their_optimizer_state_and_the_digest_of_the_base(
    base, config, result
):
    checkpoints, step = any_model.saved_model.open_checkpoint(config.output)
    meta = checkpoints.meta(step)
    count = adapter.size(16, 2, LORA)
    for item, times in (("parameters", 1), ("optimizer", 2)):
        arrays = {name: entry["shape"] for name, entry in meta[item].items() if entry["shape"]}
        keys = arrays.pop("key", None)
        assert all("/adapter/" in name for name in arrays)
        assert (keys is not None) == (item == "optimizer")
        assert sum(np.prod(shape) for shape in arrays.values()) == times * count
    assert meta["lora"]["base"] == {
        "path": f"{base.output}/checkpoints/2",
        "beside": "../base/checkpoints/2",
        "digest": any_model.describe(base.output).digest,
    }
    described = any_model.describe(config.output)
    assert described.digest == load(config.output).digest
    assert described.lora == LORA


def test_optimizer_state_and_gradients_take_memory_for_adapters_only():
    mesh = sharding.make_mesh(MeshConfig(data=8))
    model = dataclasses.replace(MODEL, dtype="bfloat16")
    spec = make_model_spec(model, mesh, OptimizerConfig(), 10, LORA)
    sizes = {
        name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for name, tree in vars(spec.abstract).items()
    }
    count = adapter.size(16, 2, LORA)
    assert spec.trained == count
    assert sizes["params"] == 4 * count
    assert 8 * count <= sizes["opt_state"] <= 8 * count + 16
    frozen = spec.parameters - count
    norms = sum(
        leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(spec.abstract.frozen)
        if "norm" in jax.tree_util.keystr(path)
    )  # fmt: skip
    assert sizes["frozen"] == 2 * frozen + 2 * norms
    settled = TrainConfig(model=model, mesh=MeshConfig(data=8), lora=LORA, init_from="base")
    estimated = step_memory.estimate(settled, spec.parameters, 32)
    assert estimated.parameters == 4 * count + 2 * frozen
    assert (estimated.gradients, estimated.optimizer) == (4 * count, 8 * count)


def test_a_frozen_head_has_no_gradient_and_the_same_gradient_of_the_states():
    rng = np.random.default_rng(0)
    hidden, table = (
        jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 6, 4), (32, 4))
    )
    targets, in_loss = jnp.asarray(rng.integers(0, 32, (2, 6))), jnp.ones((2, 6), bool)

    def loss(hidden, table):
        return cross_entropy(hidden, table, targets, in_loss, 5)[0]

    expected, of_table = jax.grad(loss, argnums=(0, 1))(hidden, table)
    np.testing.assert_array_equal(jax.grad(loss)(hidden, table), expected)
    assert np.abs(of_table).max() > 0.01
    frozen, trained = (
        jax.jit(jax.grad(loss, argnums=which)).lower(hidden, table).compile().as_text()
        for which in (0, (0, 1))
    )
    assert "f32[32,4]" in trained.partition("ENTRY")[2].partition("->")[2]
    flops = [
        jax.jit(jax.grad(loss, argnums=which)).lower(hidden, table).compile().cost_analysis()[
            "flops"
        ]
        for which in (0, (0, 1))
    ]  # fmt: skip
    assert flops[0] < 0.8 * flops[1]
    assert frozen != trained


def test_flops_leave_out_the_gradients_of_frozen_weights():
    full, lora = (model_flops(MODEL, 1, 0, setting) for setting in (None, LORA))
    mixing = 6 * 2 * 16  # of attention at length 0, which has both gradients
    adapters = 6 * adapter.size(16, 2, LORA)
    assert lora == pytest.approx((full - mixing) * 2 / 3 + mixing + adapters)


def test_a_stopped_run_is_resumed_bit_equal_with_a_base_that_moved(config, result, tmp_path):
    shutil.copytree(config.output, tmp_path / "run")
    shutil.copytree(config.init_from, tmp_path / "moved")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "8")
    moved = dataclasses.replace(
        config, output=str(tmp_path / "run"), init_from=str(tmp_path / "moved")
    )
    assert train(moved, make_run(moved.output))["loss"] == result["loss"]
    assert_same(parameters(moved.output), parameters(config.output))
    assert any_model.describe(moved.output).digest == any_model.describe(config.output).digest


def test_adapters_find_their_base_beside_them_when_both_moved(config, result, tmp_path):
    for path in (config.output, config.init_from):
        shutil.copytree(path, tmp_path / "elsewhere" / path.rpartition("/")[2])
    expected = parameters(config.output)
    away = config.init_from + "_away"
    shutil.move(config.init_from, away)
    try:
        assert_same(parameters(tmp_path / "elsewhere" / "adapted"), expected)
        with pytest.raises(
            UserError,
            match=r"adapted/checkpoints/8: holds LoRA adapters for .*/2 "
            r"with the digest sha256:\w+, but that model cannot be read .*no such "
            r"folder.*; restore it there, or at ../base/checkpoints/2 relative",
        ):
            load(config.output)  # fmt: skip
    finally:
        shutil.move(away, config.init_from)


def test_the_base_that_is_recorded_is_the_one_that_is_adapted_if_its_run_goes_on(
    base, config, tmp_path, monkeypatch
):
    growing = dataclasses.replace(base, output=str(tmp_path / "base"), steps=4)
    growing = dataclasses.replace(growing, checkpoint=CheckpointConfig(every=2, keep=2))
    train(growing, make_run(growing.output))
    later = shutil.move(tmp_path / "base/checkpoints/4", tmp_path / "4")
    short = dataclasses.replace(config, init_from=growing.output, steps=4)
    expected = train(short, make_run(tmp_path / "expected"))

    def local_data(config, data, *others):
        shutil.move(later, tmp_path / "base/checkpoints/4")
        return opened(config, data, *others)

    opened = setup.local_data
    monkeypatch.setattr(setup, "local_data", local_data)
    assert train(short, make_run(tmp_path / "run"))["loss"] == expected["loss"]
    meta = any_model.saved_model.open_checkpoint(tmp_path / "run")[0].meta(4)
    assert meta["lora"]["base"]["path"].endswith("base/checkpoints/2")


def test_a_base_in_float32_that_does_not_fit_is_refused_before_it_is_restored(
    base, config, monkeypatch
):
    in_bfloat16 = dataclasses.replace(MODEL, dtype="bfloat16")
    mesh = sharding.make_mesh(config.mesh)
    frozen = make_model_spec(in_bfloat16, mesh, config.optimizer, 2, LORA).abstract.frozen
    size = capacity.bytes_per_device(frozen) * capacity.sharing(mesh)
    monkeypatch.setattr(capacity, "available", lambda device: int(1.5 * size))
    vocabulary = any_model.describe(base.output).vocabulary
    with pytest.raises(UserError, match=r"^config.init_from=.*GiB per device in float32.*convert"):
        warm_start(base.output, in_bfloat16, vocabulary, frozen)
    monkeypatch.setattr(capacity, "available", lambda device: 3 * size)
    warm_start(base.output, in_bfloat16, vocabulary, frozen)


def test_a_base_that_changed_is_refused_by_loading_and_by_resuming(base, config, result, tmp_path):
    shutil.copytree(config.output, tmp_path / "adapted")
    other = dataclasses.replace(base, output=str(tmp_path / "base"), seed=1)
    train(other, make_run(other.output))
    meta = any_model.saved_model.open_checkpoint(config.output)[0].meta(8)
    before, now = meta["lora"]["base"]["digest"], any_model.describe(other.output).digest
    away = config.init_from + "_away"
    shutil.move(config.init_from, away)
    shutil.copytree(other.output, config.init_from)
    try:
        with pytest.raises(UserError, match=f"{before}, but the model there has the digest {now}"):
            load(config.output)
        with pytest.raises(UserError, match=f"digest {before}, but config.init_from has {now}"):
            train(config, make_run(config.output))
    finally:
        shutil.rmtree(config.init_from)
        shutil.move(away, config.init_from)


def test_a_run_can_start_from_a_lora_run_with_all_or_again_few_parameters(config, result, tmp_path):
    whole = dataclasses.replace(
        config, init_from=config.output, lora=LoraConfig(), output=str(tmp_path / "whole"), steps=1,
        optimizer=OptimizerConfig(learning_rate=1e-12), checkpoint=CheckpointConfig(),
        validation=ValidationConfig(),
    )  # fmt: skip
    train(whole, make_run(whole.output))
    np.testing.assert_allclose(logits(whole.output), logits(config.output), rtol=0, atol=1e-5)
    assert "adapter" not in parameters(whole.output)["blocks"]["up"]
    again = dataclasses.replace(
        whole, lora=LoraConfig(rank=2, targets=("up",)), output=str(tmp_path / "again")
    )
    train(again, make_run(again.output))
    np.testing.assert_allclose(logits(again.output), logits(config.output), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": ""}, "config.lora.rank: 4 needs config.init_from"),
        ({"lora": LoraConfig(4, targets=("dense",))}, "config.lora.targets: expected one of 'que"),
        ({"lora": LoraConfig(4, targets=())}, "config.lora.targets: empty"),
        ({"lora": LoraConfig(4, targets=("up", "up"))}, "config.lora.targets: .* twice"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes, message):
    whole = TrainConfig(output="run", data="data", init_from="base", lora=LORA)
    with pytest.raises(UserError, match=message):
        fields.check(dataclasses.replace(whole, **changes))


def test_a_lora_run_that_is_killed_is_bit_equal_to_an_uninterrupted_one(tmp_path):
    steps = 16
    words = kill_train.prepare(tmp_path, steps)
    environment = kill_train.on_two_devices(tmp_path)
    base = kills.Training.start(tmp_path / "base", steps, words, environment)
    kill_train.run_to_end(base)
    more = [f"--config.init_from={base.run}", "--config.lora.rank=2"]

    def start(name):
        return kills.Training.start(tmp_path / name, steps, [*words, *more], environment)

    kill_train.run_to_end(start("whole"))
    assert start("killed").kill("save", signal.SIGKILL) == "save"
    assert start("killed").kill("validation", signal.SIGKILL) == "validation"
    last = start("killed")
    kill_train.run_to_end(last)
    expected = kills.outcome(tmp_path / "whole")
    assert kills.differences(kills.outcome(last.run), expected) == []
    assert len(expected) > 20
