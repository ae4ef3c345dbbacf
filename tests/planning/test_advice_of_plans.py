"""Advice in messages of `plan`, followed without the TPU compiler.

Those that need the compiler are taken in test_plan.py.
"""

import dataclasses
import os
import re
import types
from pathlib import Path

import jax
import pytest

from teacherlm_jax.cli import overrides
from teacherlm_jax.config import AnnotateConfig, TeachersConfig, TrainConfig
from teacherlm_jax.data import packing
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning import advice, annotation_programs, chips, compiler, training_program
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from teacherlm_jax.wording import GIB

ROOT = Path(__file__).parents[2]


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


@pytest.mark.parametrize(
    "topology", ["h100:8", "v5e", "v5p:8x8", "v5p:3x4x4", "v5e:32x32", "v5p:32x32x32"]
)
def test_the_topology_that_a_message_names_is_a_slice(topology):
    named = re.search(r"as in --topology=(\S+)$", refusal(chips.parse, topology))[1]
    assert chips.parse(named).name == named


@pytest.mark.parametrize("topology", ["v5e:3x3", "v5e:6x6", "v6e:2x16"])
def test_every_shape_that_a_message_lists_is_a_slice(topology):
    shapes = refusal(chips.parse, topology).partition("expected one of ")[2].split(", ")
    assert [chips.parse(f"v6e:{shape}").chips for shape in shapes] == [
        1,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
    ]


@pytest.mark.parametrize("name", ["v5e", "v6e", "v5p"])
def test_the_larger_slices_that_messages_name_are_slices_up_to_the_largest(name):
    tpu_slice = chips.parse(f"{name}:{'x'.join(['1'] * chips.CHIPS[name].dimensions)}")
    while (larger := tpu_slice.larger()) is not None:
        sentence = advice.sentence(9 * GIB, 8 * GIB, [], tpu_slice)
        named = chips.parse(re.search(r"try --topology=(\S+)$", sentence)[1])
        assert named.chips == larger.chips > tpu_slice.chips
        tpu_slice = larger
    assert tpu_slice.chips > chips.CHIPS[name].most / 2


@pytest.mark.parametrize(("name", "count"), [("v5e", 2), ("v6e", 1), ("v5p", 0)])
def test_a_chip_that_a_message_names_has_more_memory(name, count):
    chip = chips.CHIPS[name]
    sentence = advice.sentence(9 * GIB, 8 * GIB, [], chips.TpuSlice(chip, chip.largest))
    named = re.findall(r"v\d\w", sentence)
    assert len(named) == count and sentence.endswith("a smaller model")
    assert all(chips.CHIPS[other].usable > chip.usable for other in named)


@pytest.fixture
def description(monkeypatch):
    """The compiler's description of a slice of eight chips, which it need not be there for."""
    described = types.SimpleNamespace(devices=list(range(8)))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(compiler.topologies, "get_topology_desc", lambda **_: described)
    return described


def test_a_missing_compiler_is_found_at_both_named_places(tmp_path, monkeypatch, description):
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    message = refusal(compiler.devices, chips.parse("v5e:2x4"))
    assert "`pip install -r requirements-tpu.txt`" in message
    assert re.search(r"(?m)^libtpu\b", (ROOT / "requirements-tpu.txt").read_text(encoding="utf-8"))
    assert message.endswith("or set TPU_LIBRARY_PATH to the library")
    (tmp_path / "libtpu.so").touch()
    os.environ["TPU_LIBRARY_PATH"] = str(tmp_path / "libtpu.so")
    assert compiler.devices(chips.parse("v5e:2x4")) == description.devices
    del os.environ["TPU_LIBRARY_PATH"]
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: name == "libtpu" or None)
    assert compiler.devices(chips.parse("v5e:2x4")) == description.devices


def test_a_compiler_of_another_version_is_accepted_once_it_reports_every_chip(
    description, monkeypatch
):
    wanted = chips.parse("v5e:4x4")
    monkeypatch.setattr(compiler, "_installed", lambda: True)
    message = refusal(compiler.devices, wanted)
    assert "8 devices for 16 chips; install the libtpu version that matches this JAX" in message
    description.devices *= 2
    assert len(compiler.devices(wanted)) == 16


def train(shape, **changes):
    return TrainConfig("runs/x", "nowhere", model=registry.shape(shape, **changes), batch_size=8)


def test_a_vocabulary_size_that_a_message_names_is_planned():
    config = train("bloom-tiny", vocab_size=0)
    message = refusal(training_program.prepare, config, jax.devices(), 0)
    key, text = re.search(r"as in --config\.(\S+)=(\d+)$", message).groups()
    planned = training_program.prepare(overrides.apply_text(config, key, text), jax.devices(), 0)
    assert planned.config.model.vocab_size == int(text)


def test_the_length_that_a_message_names_is_planned():
    config = train("opt-tiny")
    message = refusal(training_program.prepare, config, jax.devices(), 0)
    length = int(re.search(r"set --length=(\d+) or less$", message)[1])
    assert training_program.prepare(config, jax.devices(), length).length == length


def test_data_prepared_with_the_text_length_that_a_message_names_are_planned(
    tmp_path, write_prepared
):
    vocabulary = train_sentencepiece(["one two"] * 9, tmp_path / "vocabulary", size=400, seed=0)

    text = packing.Encoded([5, 6], [True, True])

    def prepare(max_tokens):
        inputs = {"max_tokens": max_tokens, "vocabulary": {"digest": vocabulary.digest}}
        folder = tmp_path / str(max_tokens)
        write_prepared(folder, [text], vocabulary, 64, inputs={"mixture": {"author": ""}, **inputs})
        return dataclasses.replace(train("opt-tiny", max_positions=32), data=str(folder))

    message = refusal(training_program.prepare, prepare(64), jax.devices(), 0)
    tokens = int(re.search(r"with config\.max_tokens=(\d+) or less$", message)[1])
    # A row may be longer than the positions: it holds several texts.
    assert training_program.prepare(prepare(tokens), jax.devices(), 0).length == 64


def test_the_shape_of_a_teacher_that_is_not_here_can_be_named():
    config = AnnotateConfig("runs/x", teachers=TeachersConfig(cot="nowhere"), slots=8)
    message = refusal(annotation_programs.prepare, config, jax.devices(), 32, "")
    name = re.search(r"as in --model=(\S+)$", message)[1]
    assert annotation_programs.prepare(config, jax.devices(), 32, name).model == (
        dataclasses.replace(registry.SHAPES[name], attention=config.attention or "xla")
    )
    unknown = refusal(annotation_programs.prepare, config, jax.devices(), 32, "bloom")
    for name in unknown.partition("expected one of ")[2].split(", "):
        assert registry.shape(name)
