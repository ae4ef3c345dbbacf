"""Annotations that need more memory than the device has."""

import pytest

from teacherlm_jax import capacity
from teacherlm_jax.cli.main import main
from tests.limited_memory import run_limited

CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return AnnotateConfig(
        output={output!r},
        root={data!r},
        source=SourceConfig("toys", "samples.jsonl"),
        teachers=TeachersConfig(cot={teacher!r}),
        sampling=SamplingConfig(max_new_tokens=6),
    )
"""
NEVER_REFUSE = """
from teacherlm_jax.generation import slot_memory
slot_memory.refuse_too_many = lambda *_: None
"""


@pytest.fixture
def config_file(tmp_path, data, teachers):
    path = tmp_path / "mine.py"
    settings = {"output": str(tmp_path / "run"), "data": str(data), "teacher": str(teachers[0])}
    path.write_text(CONFIG.format(**settings))
    return path


@pytest.fixture
def annotate(config_file, one_device):
    """Runs `teacherlm annotate` with 6 GiB and more settings; returns its status and last line."""

    def call(*words):
        words = ["annotate", f"--config={config_file}", *words]
        return run_limited(6, words, one_device, NEVER_REFUSE)

    return call


def test_memory_that_runs_out_is_reported_with_the_keys_that_lower_it(annotate):
    """The KV cache of one text of 50 million tokens has 6 GiB, and the data has eleven rows."""
    status, message = annotate("--config.sampling.max_new_tokens=50000000")
    assert status == 2
    assert message.startswith("teacherlm: config.slots: out of memory while generating 11 texts")
    assert message.endswith(
        "; lower config.slots, config.prompt_length or config.sampling.max_new_tokens\n"
    )
    assert annotate("--config.sampling.max_new_tokens=6") == (0, "")


def test_a_teacher_too_large_for_the_device_is_refused(config_file, teachers, capsys, monkeypatch):
    monkeypatch.setattr(capacity, "available", lambda device: 9000)
    assert main(["annotate", f"--config={config_file}"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"teacherlm: {teachers[0]}") and message.count("\n") == 1
    assert ": its parameters need " in message and "but cpu has 8.38e-06 GiB; use" in message
