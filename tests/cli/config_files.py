"""Config files of the tests of this room, and what the command line makes of them."""

import pytest

from teacherlm_jax.cli import flags
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.errors import UserError

CONFIG = """
from teacherlm_jax import config

def get_config(variant=""):
    if variant == "boom":
        return {}["missing"]
    if variant == "data":
        return config.PrepareConfig()
    settings = config.TrainConfig(output="runs/x", data="data/x", steps=50)
    if variant == "wrong":
        settings.steps = "fifty"
    return settings
"""
ANNOTATE = """
from teacherlm_jax.config import *

def get_config(variant):
    return AnnotateConfig(
        output="o", source=SourceConfig("a", "a.jsonl"), teachers=TeachersConfig(cot="t"),
        sampling=SamplingConfig(temperature=0.0),
    )
"""
BASE = """
from teacherlm_jax import config

def get_config(variant=""):
    return config.TrainConfig(output={output!r}, data="data")

"""
SWEEP = """
def sweep():
    for rate in (1e-4, 3e-4):
        yield f"rate_{rate:g}", {"optimizer.learning_rate": rate, "steps": 7}
"""


def load(file, *overrides, variant=""):
    return flags.load([f"--config={file}:{variant}", *overrides], (TrainConfig,)).config


def refusal(file, *overrides, variant=""):
    with pytest.raises(UserError) as raised:
        load(file, *overrides, variant=variant)
    return str(raised.value)
