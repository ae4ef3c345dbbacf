"""Addresses of teachers on servers, and settings that do not suit them."""

import dataclasses

import pytest

from teacherlm_jax.config import (
    AnnotateConfig,
    EndpointConfig,
    SamplingConfig,
    SourceConfig,
    TeachersConfig,
    fields,
)
from teacherlm_jax.config.endpoint_config import (
    OPENAI_FIELDS,
    VLLM_FIELDS,
    EndpointAddress,
    sampling_problems,
)
from teacherlm_jax.errors import UserError

SERVER = "http://localhost:8000/v1#org/teacher"


def made(**changes):
    settings = {
        "output": "runs/x",
        "source": SourceConfig("a", "a.jsonl"),
        "teachers": TeachersConfig(cot=SERVER),
        "sampling": SamplingConfig(top_k=0),
    }
    return AnnotateConfig(**settings | changes)


def test_an_address_has_a_url_and_a_model():
    fields.check(made())
    assert EndpointAddress.of(SERVER) == EndpointAddress("http://localhost:8000/v1", "org/teacher")
    assert EndpointAddress.of("https://a.b/v1/#m#2") == EndpointAddress("https://a.b/v1", "m#2")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("http://localhost:8000/v1", "names no model"),
        ("http://localhost:8000/v1#", "names no model"),
        ("https://#m", "no host"),
        ("http://localhost:port/v1#m", "not a URL"),
        ("https://user:hunter2@host/v1#m", "a user or a password"),
        ("https://host/v1?key=hunter2#m", "has a query"),
        ("ftp://host/v1#m", "not supported"),
    ],
)
def test_other_addresses_are_refused_without_showing_secrets(name, problem):
    with pytest.raises(UserError, match=f"config.teachers.mistake: .*{problem}") as caught:
        fields.check(made(teachers=TeachersConfig(mistake=name)))
    assert "hunter2" not in str(caught.value)


def test_a_key_in_place_of_its_variable_is_refused_without_showing_it():
    with pytest.raises(UserError, match="endpoint.key_variable: not the name of an env") as caught:
        fields.check(made(endpoint=EndpointConfig(key_variable="sk-abc")))
    assert "sk-abc" not in str(caught.value)


def test_every_setting_of_the_sampling_is_sent_or_refused():
    names = {field.name for field in dataclasses.fields(SamplingConfig)} - {"stop"}
    changed = SamplingConfig(
        0.5, 3, 0.5, 0.5, 2.0, 3, 40, 4, ("a", "b", "c", "d", "e")
    )  # unlike the values that turn settings off
    refused = {key for key, _ in sampling_problems(changed, "openai")}
    assert refused == names - set(OPENAI_FIELDS) | {"stop"}
    refused = {key for key, _ in sampling_problems(changed, "vllm")}
    assert refused == names - set(OPENAI_FIELDS) - set(VLLM_FIELDS) == {"no_repeat_ngram"}
    off = SamplingConfig(0.5, 0, 0.5, 0.0, 1.0, 0, 40, 0, ("a",))
    assert list(sampling_problems(off, "openai")) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sampling": SamplingConfig()}, "sampling.top_k: 50, but .*endpoint.api='vllm'"),
        (
            {"sampling": SamplingConfig(top_k=0, no_repeat_ngram=3)},
            "sampling.no_repeat_ngram: 3, but .*; set it to 0$",
        ),
        ({"prompt_length": 100}, "prompt_length: 100 is set, but all teachers are on servers"),
        ({"dtype": "float32"}, "dtype: 'float32' is set"),
        ({"endpoint": EndpointConfig(max_cost=3)}, "endpoint.max_cost: 3.0, but both prices are 0"),
        (
            {"teachers": TeachersConfig(cot="runs/a"), "endpoint": EndpointConfig(retries=3)},
            "endpoint: set, but no teacher is on a server",
        ),
        ({"gates": ("answer_check",)}, "gates: 'answer_check' needs teachers whose"),
    ],
)
def test_settings_that_do_not_suit_are_refused(changes, problem):
    with pytest.raises(UserError, match=f"config.{problem}"):
        fields.check(made(**changes))


def test_teachers_of_ours_may_be_beside_one_at_an_address():
    teachers = TeachersConfig(cot=SERVER, mistake="runs/a")
    fields.check(made(teachers=teachers, prompt_length=100, dtype="float32"))
