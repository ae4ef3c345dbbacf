"""Names that a config may give, against what they stand for."""

import dataclasses

import pytest

from teacherlm_jax import config
from teacherlm_jax.annotation import gates
from teacherlm_jax.data import formats, packing, prompts
from teacherlm_jax.models import attention, decoder, registry
from teacherlm_jax.training import optimizer


@pytest.mark.parametrize(
    ("names", "meanings"),
    [
        (config.FORMS, prompts.FORMS),
        (config.GATES, gates.GATES),
        (config.FORMATS, formats.FORMATS),
    ],
)
def test_every_name_in_a_table_has_its_meaning(names, meanings):
    assert set(names) == set(meanings)


@pytest.mark.parametrize(
    ("owner", "field", "meanings"),
    [
        (config.ModelConfig, "family", registry.FAMILIES),
        (config.ModelConfig, "remat", decoder.REMAT),
        (config.ModelConfig, "attention", attention.IMPLEMENTATIONS),
        (config.OptimizerConfig, "schedule", optimizer.SCHEDULES),
        (config.MixtureConfig, "loss", packing.LOSSES),
    ],
)
def test_every_choice_of_a_field_has_its_meaning(owner, field, meanings):
    (declared,) = (each for each in dataclasses.fields(owner) if each.name == field)
    assert set(declared.metadata["choices"]) == set(meanings)
