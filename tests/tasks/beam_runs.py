"""Preparations with and without Beam, for tests that compare them."""

from teacherlm_jax.config import (
    ColumnsConfig,
    MixtureConfig,
    PartConfig,
    PrepareConfig,
    SourceConfig,
    VocabularyConfig,
)
from teacherlm_jax.runs.run_folder import open_run
from teacherlm_jax.tasks.prepare import prepare

IN_MEMORY = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
SMALL = 16  # samples per chunk, so that each source has several chunks


def verdict(number):
    return {"author": "program", "gates": {"finished": number % 3 > 0}}


def make(data, output, **settings):
    mixed = {"author": "program", "forms": ("text", "shuffle")}
    parts = (PartConfig(("drawn",), ("CMF",), subject_prefix=True),)
    asked = ColumnsConfig(question="q", answer="q")
    values = {
        "output": str(output),
        "root": str(data),
        "sources": (
            SourceConfig("drawn", "big.jsonl", limit=40, limit_by="seed"),
            SourceConfig("gated", "gated-*.jsonl"),
            SourceConfig("small", "small.jsonl", max_tokens=60, explanations="davinci.jsonl"),
        ),
        "evaluation": (SourceConfig("asked", "asked.jsonl", "columns", columns=asked),),
        "mixtures": (
            MixtureConfig("mix", sources=("gated", "small"), also=parts, **mixed),
            MixtureConfig("checked", checked_only=True, loss="answer", **mixed),
        ),
        "vocabulary": VocabularyConfig(f"{data}/vocabulary"),
        "length": 256,
        "rows_per_shard": 20,
    }
    return PrepareConfig(**values | settings)


def on_beam(data, output, **settings):
    return make(data, output, runner="DirectRunner", beam_options=IN_MEMORY, **settings)


def do(config):
    with open_run(config.output, "prepare", config) as run:
        return prepare(config, run)


def contents(output):
    """Return the content of all files of a run, except those with times and the run's settings."""
    excluded = ("log.txt", "config.json", "versions.json", "throughput.json", ".lock")
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in excluded
    }


def messages(output):
    lines = (output / "log.txt").read_text().replace(str(output), "OUTPUT").splitlines()
    return [line.split(" ", 2)[2] for line in lines if "Mtokens/s" not in line]


def without_times(result):
    mixtures = result["mixtures"].items()
    untimed = {"mixtures": {k: v | {"throughput": None} for k, v in mixtures}}
    return result | untimed | {"costs": result["costs"] | {"seconds": None}}
