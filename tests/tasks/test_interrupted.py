"""`prepare`, killed at any time and resumed, writes the bytes of an uninterrupted run."""

import multiprocessing
import random
import signal
import time

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.storage import files

MIXTURES = ("first", "second", "third")
CONFIG = """
from teacherlm_jax import config
from teacherlm_jax.data import recipes

def get_config(output):
    return config.PrepareConfig(
        output=output,
        root={root!r},
        sources=tuple(config.SourceConfig(name, f"{{name}}.jsonl") for name in ("big", "small")),
        mixtures=tuple(
            recipes.mixture("student_CMF", name=name, author="program", loss=loss)
            for name, loss in zip({names!r}, ("text", "answer", "answer_and_explanations"))
        ),
        vocabulary=config.VocabularyConfig(output + "/vocabulary", size=600),
        length=256,
        rows_per_shard=2,
    )
"""


@pytest.fixture(scope="module")
def start(root, tmp_path_factory):
    """A function that starts `teacherlm prepare` with an output in a process that can be killed."""
    file = tmp_path_factory.mktemp("config") / "data.py"
    file.write_text(CONFIG.format(root=str(root), names=MIXTURES))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["teacherlm_jax.tasks.prepare"])  # TensorFlow loads once

    def begin(output):
        words = ["prepare", f"--config={file}:{output}"]
        process = context.Process(target=main.main, args=(words,))
        process.start()
        return process

    return begin


def contents(output):
    return {
        str(path.relative_to(output)): path.read_bytes()
        for name in (*MIXTURES, "vocabulary")
        for path in sorted((output / name).rglob("*"))
        if path.is_file()
    }


def finished(output):
    """Return the modification time of each file of the finished mixtures."""
    return {
        path: path.stat().st_mtime_ns
        for name in MIXTURES
        for path in (output / name).rglob("*")
        if path.is_file()
    }


def wait_for(path, process):
    """Wait until the file exists or the process has ended; return the time."""
    while process.is_alive() and not path.exists():
        time.sleep(0.002)
    return time.monotonic()


def test_a_run_killed_several_times_ends_with_the_same_bytes(start, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = start(undisturbed)
    began = wait_for(undisturbed / "log.txt", process)
    process.join()
    duration = time.monotonic() - began
    assert process.exitcode == 0

    rng, exit_codes, kept = random.Random(5), [], {}
    awaited = ("log.txt", "log.txt", "first/manifest.json")  # the last: with one mixture finished
    for number, name in enumerate(awaited):
        process = start(killed)
        wait_for(killed / name, process)
        time.sleep(rng.uniform(0, duration / 3) if number < 2 else 0)
        process.kill()
        process.join()
        exit_codes.append(process.exitcode)
        now = finished(killed)
        assert kept.items() <= now.items()
        kept = now
    assert exit_codes == [-signal.SIGKILL] * 3
    assert kept
    assert not (killed / "result.json").exists()

    process = start(killed)
    process.join()
    assert process.exitcode == 0
    assert kept.items() <= finished(killed).items()
    assert contents(killed) == contents(undisturbed)
    assert not list(killed.glob(".*.partial"))
    results = [files.read_json(output / "result.json") for output in (killed, undisturbed)]
    for result in results:
        assert result["costs"].pop("seconds") > 0
        for mixture in result["mixtures"].values():
            assert mixture.pop("throughput")["prepared_mtokens_per_second"] > 0
    assert results[0] == results[1]
