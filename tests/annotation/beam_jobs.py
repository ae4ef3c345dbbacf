"""Jobs on Beam, for tests: their options, and the files that they write."""

import dataclasses

from teacherlm_jax.pipelines import verbs

IN_MEMORY = ("--direct_running_mode=in_memory",)
THREADS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
PROCESSES = ("--direct_num_workers=2",)


def on_beam(config, output, options=IN_MEMORY):
    """Return the settings of a job on Beam with these options; None: without Beam."""
    runner = {"runner": "DirectRunner", "beam_options": options} if options is not None else {}
    return dataclasses.replace(config, output=str(output), **runner)


def annotate(config, output, options=None):
    """Run a job; return its result."""
    return verbs.run("annotate", on_beam(config, output, options))


def contents(output):
    """Return the content of all files that describe or hold explanations, by path."""
    folders = ("texts", "samples", "shards", "counts", "sketches", "rejected")
    paths = [path for name in folders for path in sorted((output / name).rglob("*"))]
    paths += [*output.glob("*refused.jsonl"), output / "job.json"]
    return {str(path.relative_to(output)): path.read_bytes() for path in paths if path.is_file()}
