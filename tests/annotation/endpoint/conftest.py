"""A server that answers as vLLM does, and settings of a run that asks it."""

import pytest

from teacherlm_jax.config import EndpointConfig
from tests.completions_server import CompletionsServer

from .endpoint_runs import KEY


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with CompletionsServer() as started:
        yield started


@pytest.fixture
def config(make_config, server, tmp_path):
    """Settings of a run whose chains of thought the server writes, with quick retries."""
    made = make_config(cot=server.teacher)
    made.output = str(tmp_path / "run")
    made.endpoint = EndpointConfig(timeout=30.0, concurrency=3)
    return made
