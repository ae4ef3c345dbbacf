"""Runs with a teacher on a server, and what they leave."""

import dataclasses
import json
import sys

from teacherlm_jax.annotation.endpoint.endpoint_teacher import request_seed
from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files
from tests.completions_server import text_of

KEY = "sk-secret-8d1f"


def annotate(config, **changes):
    return verbs.run("annotate", dataclasses.replace(config, **changes))


def rows_of(config, kind="cot"):
    folder = f"{config.output}/texts/{kind}"
    return [
        row
        for name in sorted(files.names(folder))
        for _, row in files.read_jsonl(f"{folder}/{name}")
    ]


def expected(samples, seed=5):
    """The texts that the server writes for the chains of thought of samples, by id."""
    prompts = [own[0] for own in encode_prompts(samples, ["cot"], None, False)]
    return {p.sample.id: text_of(p.text, request_seed(seed, p)) for p in prompts}


def set_endpoint(config, **changes):
    config.endpoint = dataclasses.replace(config.endpoint, **changes)


def log_of(config):
    with open(f"{config.output}/log.txt") as file:
        return file.read()


def refusals_of(config):
    return json.dumps([row for _, row in files.read_jsonl(f"{config.output}/cot.refused.jsonl")])


def command_of(config, folder):
    """Return the command of a run in another process."""
    (folder / "config.py").write_text(
        f"from teacherlm_jax.config import *\n\n\ndef get_config(variant):\n    return {config!r}\n"
    )
    return [sys.executable, "-m", "teacherlm_jax", "annotate", f"--config={folder}/config.py"]
