"""Training under an address-space limit, in place of a device's memory limit."""

import re

import pytest

from tests.limited_memory import run_limited

CONFIG = """
from teacherlm_jax import config

def get_config(variant=""):
    return config.TrainConfig(output={output!r}, data={data!r}, steps=2)
"""
NEVER_REFUSE = """
from teacherlm_jax import capacity
capacity.available = lambda device: None
"""
BLOOMZ_7B1 = {"layers": 30, "width": 4096, "heads": 32, "vocab_size": 250_880}
TINY = {"layers": 1, "width": 16, "heads": 2, "vocab_size": 400}


@pytest.fixture
def train(prepared, one_device, tmp_path):
    """Function that trains in a process limited to some GiB; returns status and last line."""
    path = tmp_path / "mine.py"
    path.write_text(CONFIG.format(output=str(tmp_path / "run"), data=str(prepared)))

    def call(limit, model, patch="", **settings):
        keys = {f"model.{key}": value for key, value in model.items()} | settings
        words = [f"--config.{key}={value}" for key, value in keys.items()]
        return run_limited(limit, ["train", f"--config={path}", *words], one_device, patch)

    return call


def test_a_model_too_large_for_the_device_is_refused_with_its_sizes(train, tmp_path):
    status, message = train(16, BLOOMZ_7B1)
    assert status == 2
    assert "parameters 26.3, optimizer 52.7, gradients 26.3, activations about" in message
    assert "has 16.0 GiB" in message and "config.mesh.fsdp over at least 8 such devices" in message
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 1_000_000, "loss_block": 100_000_000},
        {"batch_size": 4_000_000},
        {"batch_size": 2**31 - 1},  # a prime
    ],
)
def test_activations_too_large_for_the_device_are_refused_with_what_would_fit(train, settings):
    status, message = train(16, TINY, **settings)
    assert status == 2
    assert message.startswith(f"teacherlm: config.batch_size={settings['batch_size']}: needs about")
    assert "GiB per device (parameters 0.0" in message and "has 16.0 GiB" in message
    assert re.search(
        r"set config.accumulate=\d+, config.model.remat='full' and config.loss_", message
    )


def test_the_suggested_settings_fit(train):
    model = {**TINY, "width": 8, "vocab_size": 100_000}
    settings = {"batch_size": 256, "loss_block": 1_000_000, "steps": 1}
    status, message = train(6, model, **settings)
    assert status == 2
    suggested = dict(re.findall(r"config\.([a-z_.]+)='?([a-z0-9]+)'?(?:,| and)", message))
    assert suggested.keys() == {"accumulate", "model.remat", "loss_block"}
    assert train(6, model, **settings | suggested) == (0, "")


def test_memory_that_runs_out_in_training_is_reported_with_the_keys_that_lower_it(train):
    """The step needs more than the limit, as when the estimate was too low to refuse it."""
    settings = {"batch_size": 256, "loss_block": 1_000_000}
    status, message = train(
        6, {**TINY, "width": 8, "vocab_size": 100_000}, NEVER_REFUSE, **settings
    )
    assert status == 2
    assert message.startswith("teacherlm: out of memory")
    for key in ("config.batch_size", "config.accumulate", "config.model.remat"):
        assert key in message
    # In the same run folder, since no step was taken.
    settings = {"batch_size": 8, "loss_block": 4096, "steps": 1}
    model = {**TINY, "width": 8, "vocab_size": 100_000}
    assert train(6, model, NEVER_REFUSE, **settings) == (0, "")
