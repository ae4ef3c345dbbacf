"""Fields of configs: accepted values, and the keys that hold paths."""

import dataclasses
import re

import pytest

from teacherlm_jax import config
from teacherlm_jax.config import (
    AnnotateConfig,
    BenchmarkConfig,
    EvaluateConfig,
    PrepareConfig,
    SamplingConfig,
    SourceConfig,
    TeachersConfig,
    TrainConfig,
    VocabularyConfig,
)
from teacherlm_jax.config.fields import path_keys, problems


def test_keys_that_hold_paths_are_found_inside_tuples_too():
    assert path_keys(TrainConfig()) == {"output", "data", "init_from", "compilation_cache"} | {
        "data_cache",
        "validation.root",
        "validation.data",
    }
    sources = (SourceConfig("a", "a.jsonl"), SourceConfig("b", "b.jsonl"))
    keys = path_keys(PrepareConfig(sources=sources))
    of_sources = {f"sources[{index}].{key}" for index in (0, 1) for key in ("path", "explanations")}
    assert {"output", "root", "vocabulary.path"} | of_sources == keys
    benchmark = EvaluateConfig(benchmarks=(BenchmarkConfig("b", "b.jsonl"),))
    assert "benchmarks[0].path" in path_keys(benchmark)
    assert {f"teachers.{kind}" for kind in ("cot", "fundamental", "mistake")} <= path_keys(
        AnnotateConfig()
    )


@pytest.mark.parametrize("path", ["hf://org/name", "hf://org/name@main", "runs/teacher"])
def test_a_path_of_a_model_may_be_an_address_on_the_hub(path):
    assert list(problems(TeachersConfig(cot=path), "config.teachers")) == []


def test_a_path_of_a_model_may_be_in_a_bucket_of_one_store():
    assert list(problems(TeachersConfig(cot="gs://b/run"), "config.teachers")) == []
    ((key, problem),) = problems(TeachersConfig(cot="s3://b/run"), "config.teachers")
    assert (key, "s3://b/run is not supported" in problem) == ("config.teachers.cot", True)


@pytest.mark.parametrize(
    "settings",
    [
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0.0},
        {"no_repeat_ngram": -1},
        {"min_new_tokens": -1},
        {"stop": "Q:"},
    ],
)
def test_sampling_settings_without_meaning_are_refused(settings):
    key, _ = next(problems(SamplingConfig(**settings), "config.sampling"))
    assert key == f"config.sampling.{next(iter(settings))}"


def test_the_ends_of_the_intervals_of_sampling_settings_are_accepted():
    extremes = {"min_p": 1.0, "top_p": 1.0, "min_new_tokens": 512, "stop": ("Q:", "\n")}
    assert list(problems(SamplingConfig(**extremes), "config.sampling")) == []


INTS = [
    (kind, field.name)
    for kind in vars(config).values()
    if dataclasses.is_dataclass(kind)
    for field in dataclasses.fields(kind)
    if field.type is int
]


@pytest.mark.parametrize(("kind", "key"), INTS, ids=lambda value: getattr(value, "__name__", value))
def test_an_int_that_needs_more_than_32_bits_is_refused_in_every_key(kind, key):
    def problem(value):
        return dict(reversed([*problems(kind(**{key: value}), "config")])).get(f"config.{key}", "")

    assert re.search(r"2147483648 is (too large|not in)", problem(2**31))
    assert "too large" not in problem(2**31 - 1)


def test_an_int_becomes_a_float_if_there_is_such_a_float():
    settings = TrainConfig("run", "data", data_cache_gib=7)
    assert list(problems(settings, "config")) == [] and type(settings.data_cache_gib) is float
    settings = TrainConfig("run", "data", data_cache_gib=10**400)
    assert ("config.data_cache_gib", "expected a float, got 1000") in [
        (key, problem[:26]) for key, problem in problems(settings, "config")
    ]


def test_a_vocabulary_for_which_training_would_never_end_is_refused():
    ((key, problem),) = problems(VocabularyConfig("here", 2**31 - 1), "config.vocabulary")
    assert (key, problem) == ("config.vocabulary.size", "2147483647 is not in [0, 100000000]")
    assert list(problems(VocabularyConfig("here", 10**8), "config.vocabulary")) == []
