"""Fields of configs: accepted values, and the keys that hold paths."""

import pytest

from teacherlm_jax.config import (
    AnnotateConfig,
    BenchmarkConfig,
    EvaluateConfig,
    PrepareConfig,
    SourceConfig,
    TeachersConfig,
    TrainConfig,
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
    assert {"output", "root", "vocabulary.path", "sources[0].path", "sources[1].path"} == keys
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
