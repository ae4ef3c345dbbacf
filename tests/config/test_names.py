"""Names that config fields accept, compared with the tables that implement them."""

import dataclasses
import functools

import pytest

from teacherlm_jax import config
from teacherlm_jax.annotation.gates import answer_check, gates
from teacherlm_jax.annotation.shards import duplicate_verdicts
from teacherlm_jax.config import fields, names
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.models import attention, decoder, registry
from teacherlm_jax.sources import reading
from teacherlm_jax.training import optimizer


@pytest.mark.parametrize(
    ("accepted", "meanings"),
    [
        (config.FORMS, prompts.FORMS),
        (names.GATES, (*gates.GATES, answer_check.NAME, duplicate_verdicts.NAME)),
        (names.TEXT_GATES, gates.GATES),
        (config.FORMATS, reading.FORMATS),
    ],
)
def test_every_accepted_name_is_implemented(accepted, meanings):
    assert set(accepted) == set(meanings)


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
def test_every_choice_of_a_field_is_implemented(owner, field, meanings):
    (declared,) = (item for item in dataclasses.fields(owner) if item.name == field)
    assert set(declared.metadata["choices"]) == set(meanings)


LOCAL = [
    (config.AnnotateConfig, "teachers.cot"),
    (config.AnnotateConfig, "teachers.fundamental"),
    (config.AnnotateConfig, "teachers.mistake"),
    (config.ConvertConfig, "source"),
    (config.EvaluateConfig, "model"),
    (config.PrepareConfig, "vocabulary.path"),
    (config.ReportConfig, "data"),
    (config.ReportConfig, "root"),
    (config.ReportConfig, "select"),
    (config.ReportConfig, "vocabulary"),
    (config.StarConfig, "init_from"),
    (config.TrainConfig, "data"),
    (config.TrainConfig, "init_from"),
    (config.TrainConfig, "validation.data"),
]


@pytest.mark.parametrize(
    ("kind", "key", "address"),
    [(*pair, "s3://bucket") for pair in LOCAL]
    + [(*pair, "https://example.org/x") for pair in LOCAL if not pair[1].startswith("teachers.")],
)
def test_keys_for_folders_refuse_addresses_other_than_those_of_buckets(kind, key, address):
    (problem,) = _refusals(kind, key, address)
    assert problem.startswith(f"{address} is not supported; expected paths on this machine")
    assert _refusals(kind, key, "gs://bucket/x") == []


def test_every_path_of_a_key_with_several_is_checked():
    for key in ("samples", "ratings"):
        settings = config.ReportConfig(**{key: ("gs://bucket/x", "s3://bucket/y")})
        (problem,) = (
            text for name, text in fields.problems(settings, "config") if name.endswith(key)
        )
        assert problem.startswith("s3://bucket/y is not supported; expected paths")


def test_paths_of_a_key_with_several_are_numbered():
    settings = config.ReportConfig(samples=("a", "b"))
    keys = fields.path_keys(settings)
    assert {"samples[0]", "samples[1]", "ratings", "root"} <= keys and "samples" not in keys


def _refusals(kind, key, address):
    """Return the problems of a key with this value that are about its store."""
    settings = kind()
    *groups, name = key.split(".")
    setattr(functools.reduce(getattr, groups, settings), name, address)
    problems = (
        text for name, text in fields.problems(settings, "config") if name == f"config.{key}"
    )
    return [text for text in problems if "not supported" in text]


def test_sources_may_be_in_a_bucket():
    source = config.SourceConfig("a", "gs://bucket/a.jsonl")
    fields.check(source)
    settings = config.PrepareConfig(root="gs://bucket", sources=(source,))
    assert "config.root" not in dict(fields.problems(settings, "config"))
