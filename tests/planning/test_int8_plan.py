"""Plans of annotations with weights in int8, on simulated devices."""

import re

import jax
import pytest

from teacherlm_jax import capacity
from teacherlm_jax.config import AnnotateConfig, MeshConfig, SamplingConfig, TeachersConfig
from teacherlm_jax.models import registry
from teacherlm_jax.planning import annotation_programs

VOCABULARY = 4096


@pytest.fixture
def planned(monkeypatch):
    """A function that plans an annotation with these weights."""
    shape = registry.shape("bloom-tiny", vocab_size=VOCABULARY, dtype="bfloat16")
    monkeypatch.setitem(registry._SHAPES, "wide", shape)

    def prepare(weights):
        config = AnnotateConfig(
            output="unused",
            teachers=TeachersConfig(cot="unused"),
            weights=weights,
            slots=8,
            sampling=SamplingConfig(max_new_tokens=16),
            mesh=MeshConfig(1, 1, 2),
        )
        return annotation_programs.prepare(config, jax.devices()[:2], 16, "wide")

    return prepare


def test_the_memory_is_that_of_int8_and_the_number_of_parameters_is_the_same(planned):
    exact, in_int8 = planned(""), planned("int8")
    assert exact.parameters == in_int8.parameters
    sizes = [capacity.bytes_per_device(run.params) for run in (in_int8, exact)]
    assert 0.5 < sizes[0] / sizes[1] < 0.6
    assert in_int8.with_config(in_int8.config, jax.devices()[:2]).params == in_int8.params


def test_no_copy_of_the_table_in_another_dtype_is_kept_while_texts_are_decoded(planned):
    decode = planned("int8").programs()[1].lowered.compile().as_text()
    entry = decode[decode.index("\nENTRY") :]
    assert re.search(rf"s8\[{VOCABULARY // 2},32\]", entry)
    converted = rf"\w*[fb]\w*\d+\[({VOCABULARY // 2},32|32,{VOCABULARY // 2})\]"
    assert not re.search(converted, entry)
