"""`prepare` on Beam: the same files, messages and errors as in one process."""

import multiprocessing
import signal
import sys
import time
from pathlib import Path

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import SourceConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.beam import Beam
from teacherlm_jax.storage import files
from teacherlm_jax.tasks import chunks
from tests.tasks.beam_runs import (
    IN_MEMORY,
    SMALL,
    contents,
    do,
    make,
    messages,
    on_beam,
    without_times,
)

pytest.importorskip("apache_beam", reason="Beam is an extra: pip install -r requirements-beam.txt")


def test_beam_writes_the_same_files_and_messages(alone, data, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "SIZE", SMALL)
    result = do(on_beam(data, tmp_path))
    output, expected = alone
    assert contents(tmp_path) == contents(output)
    assert messages(tmp_path) == messages(output)
    assert without_times(result) == without_times(expected)
    assert expected["refused"] and expected["survey"]["twice"] and expected["survey"]["evaluated"]
    assert len(list(output.glob("mix/rows-*"))) > 1
    assert not (tmp_path / layout.WORK).exists()


def test_a_check_on_beam_writes_the_same_report_and_messages(data, tmp_path):
    for name, config in (("alone", make), ("beam", on_beam)):
        assert do(config(data, tmp_path / name, check_only=True)) is None
    assert contents(tmp_path / "beam") == contents(tmp_path / "alone")
    assert "check.json" in contents(tmp_path / "beam")
    assert messages(tmp_path / "beam") == messages(tmp_path / "alone")


def refusal(config):
    with pytest.raises(UserError) as raised:
        do(config)
    return str(raised.value).replace(config.output, "OUTPUT")


def test_an_unusable_source_is_refused_as_in_one_process(data, tmp_path):
    bad = {"sources": (*make(data, tmp_path).sources, SourceConfig("bad", "asked.jsonl"))}
    outcomes = [
        (refusal(config(data, tmp_path / name, **bad)), contents(tmp_path / name))
        for name, config in (("alone", make), ("beam", on_beam))
    ]
    assert outcomes[0] == outcomes[1]
    assert "source 'bad': no row of" in outcomes[0][0]
    assert "see OUTPUT/refused.jsonl for all of them" in outcomes[0][0]
    do(on_beam(data, tmp_path / "beam"))  # the folder is free for another config


def test_a_worker_that_fails_late_gives_one_message_and_keeps_the_finished_chunks(
    alone, data, tmp_path, monkeypatch
):
    encode, encoded = chunks.encode_chunk, []

    def fails_late(samples, rendering, vocabulary):
        if len(encoded) == 7:  # in the middle of a task
            raise UserError("the store is not available")
        encoded.append(rendering)
        return encode(samples, rendering, vocabulary)

    monkeypatch.setattr(chunks, "SIZE", SMALL)
    monkeypatch.setattr(chunks, "encode_chunk", fails_late)
    assert refusal(on_beam(data, tmp_path)) == "the store is not available"
    assert len(list(tmp_path.glob(f"{layout.WORK}/tasks/*/chunk-*.npz"))) == len(encoded) == 7
    monkeypatch.setattr(chunks, "encode_chunk", lambda *args: encoded.append(0) or encode(*args))
    do(on_beam(data, tmp_path))
    assert contents(tmp_path) == contents(alone[0])
    total = sum(
        -(-source["samples"] // SMALL) * forms
        for name, forms in (("mix", 2), ("checked", 2))
        for source in files.read_json(tmp_path / name / "manifest.json")["inputs"][
            "sources"
        ].values()
        if not (name == "mix" and source["name"] == "drawn")
    )
    drawn = -(-40 // SMALL)  # in one form of `mix`
    assert len(encoded) == total + drawn


def test_workers_that_do_not_see_the_run_folder_are_reported(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Beam, "run", lambda *args: None)
    message = refusal(on_beam(data, tmp_path))
    assert (
        "sources-00000: DirectRunner finished but did not write it; config.output must" in message
    )


@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("NoRunner", (), "config.runner: 'NoRunner' cannot be used: Unexpected pipeline runner"),
        ("no.such.Runner", (), "config.runner: 'no.such.Runner' cannot be used: No module"),
        ("DirectRunner", ("--direct_workers=2",), "Beam has no option --direct_workers"),
        ("DirectRunner", ("--direct_num_workers=x",), "config.beam_options: argument --direct_num"),
    ],
)
def test_an_unknown_runner_or_option_is_refused_before_any_work(
    data, tmp_path, runner, options, message
):
    config = make(data, tmp_path, runner=runner, beam_options=options)
    assert message in refusal(config)


def test_the_error_without_beam_says_how_to_install_it(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-beam\.txt"):
        Beam.__init__.__globals__["_import_beam"].__wrapped__()


def test_beam_options_without_a_runner_are_refused(data, tmp_path):
    with pytest.raises(UserError, match="beam_options: need a Beam runner; set one, as in"):
        fields.check(make(data, tmp_path, beam_options=IN_MEMORY))


CONFIG = """
from teacherlm_jax.config import *

def get_config(output):
    return PrepareConfig(
        output=output,
        root={root!r},
        sources=tuple(SourceConfig(name, f"{{name}}.jsonl") for name in ("big", "small")),
        mixtures=(MixtureConfig("mix", forms=("text", "CMF"), author="program"),),
        vocabulary=VocabularyConfig({root!r} + "/vocabulary"),
        length=256,
    )
"""


def children(pid):
    """Return the ids of all processes that a process started, directly or through another one."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for path in lists for child in path.read_text().split()]
    return direct + [indirect for child in direct for indirect in children(child)]


def test_a_run_whose_workers_were_killed_can_be_resumed(data, tmp_path):
    file, killed, undisturbed = tmp_path / "data.py", tmp_path / "killed", tmp_path / "undisturbed"
    file.write_text(CONFIG.format(root=str(data)))
    options = "--config.beam_options=('--direct_num_workers=2',)"
    words = ["prepare", f"--config={file}:{killed}", "--runner=DirectRunner", options]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["teacherlm_jax.tasks.prepare"])  # TensorFlow loads once
    process = context.Process(target=main.main, args=(words,))
    process.start()
    while process.is_alive() and not list(killed.glob(f"{layout.WORK}/tasks/*/chunk-*.npz")):
        time.sleep(0.002)
    started = children(process.pid)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(started) >= 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert main.main(["prepare", f"--config={file}:{killed}"]) == 0  # without the runner
    assert main.main(["prepare", f"--config={file}:{undisturbed}"]) == 0
    assert contents(killed / "mix") == contents(undisturbed / "mix")
    assert not (killed / layout.WORK).exists()
