"""Memory of the slots: refusals before allocation, and errors when memory runs out."""

import re
import subprocess
import sys

import jax
import pytest

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import slot_memory
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key

SAMPLING = SamplingConfig(max_new_tokens=8)


@pytest.fixture(scope="module")
def model(load):
    return load().model


def _engine(model, slots):
    return Engine(model, slots=slots, prompt_length=24, sampling=SAMPLING, eos_id=1)


def test_too_many_slots_are_refused_with_the_number_that_fits(model, monkeypatch):
    per_slot = 2 * 32 * 16 * 4 + 4 + 32 * 4 + 8 + 2 * 4 + 1  # cache and lengths, tokens, starts, …
    monkeypatch.setattr(slot_memory, "free_bytes", lambda device, sharing: 20 * per_slot + 1)
    _engine(model, 20)
    keys = r"config\.slots \(to at most 20\), config\.prompt_length or .*max_new_tokens"
    with pytest.raises(
        UserError, match=rf"config\.slots: the KV cache of 21 texts .* are free; lower {keys}$"
    ):
        _engine(model, 21)
    monkeypatch.setattr(slot_memory, "free_bytes", lambda device, sharing: per_slot - 1)
    with pytest.raises(UserError, match=r"are free; lower config\.prompt_length or"):
        _engine(model, 1)
    monkeypatch.setattr(slot_memory, "free_bytes", lambda device, sharing: None)
    _engine(model, 21)  # no check if the device does not report its free memory


def test_the_free_memory_of_a_cpu_is_limited_by_its_address_space():
    code = (
        "import jax\n"
        "from teacherlm_jax.generation import slot_memory\n"
        "print(slot_memory.free_bytes(jax.devices('cpu')[0]))\n"
    )
    limit = 64 * 2**20  # KiB of addresses; the rest of the machine may have less
    command = f'ulimit -v {limit}; exec {sys.executable} -c "$0"'
    run = subprocess.run(["bash", "-c", command, code], capture_output=True, text=True, check=True)
    assert 0 < int(run.stdout) < 1024 * limit
    assert (
        0 < slot_memory.free_bytes(jax.devices()[0], 8) < slot_memory.free_bytes(jax.devices()[0])
    )


@pytest.mark.parametrize("message", ["RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.", "x"])
def test_an_out_of_memory_error_names_the_settings_to_lower(model, monkeypatch, message):
    def fails(*arguments):
        raise jax.errors.JaxRuntimeError(message)

    engine = _engine(model, 4)
    monkeypatch.setattr(engine, "_decode", fails)
    request = GenerationRequest("a", (3,), request_key(0, "a", "cot"))
    if message == "x":  # another error stays as it is
        with pytest.raises(jax.errors.JaxRuntimeError):
            list(engine.generate([request]))
        return
    expected = f"out of memory while generating 4 texts at a time ({message}); lower config.slots, "
    with pytest.raises(UserError, match=re.escape(expected)):
        list(engine.generate([request]))
