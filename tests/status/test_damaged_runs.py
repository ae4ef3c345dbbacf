"""Runs that are damaged, among others in a folder: each keeps its line, with the reason."""

import json
import os
import shutil

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.status import show
from teacherlm_jax.storage import files
from tests.limited_rights import limited_rights
from tests.status.made_runs import log_steps, training

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture
def runs(tmp_path, begin, command):
    """A folder of five runs that finished; tests damage the second one."""
    command("train", "--config=mine.py")
    for name in NAMES:
        with begin(training(str(tmp_path / "runs" / name))) as run:
            log_steps(run, 20)
            run.finish({"step": 100})
    yield tmp_path / "runs"
    for folder, _, _ in os.walk(tmp_path):  # so that they can be removed
        os.chmod(folder, 0o755)


@pytest.fixture
def typed(capsys):
    """A function that runs `teacherlm status`; it returns its exit status, output and errors."""

    def run(*words):
        capsys.readouterr()
        code = main.main(["status", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def line_of(name, text):
    (line,) = [line for line in text.splitlines() if f"/runs/{name} " in f"{line} "]
    return line


def write(name, content):
    return lambda run: (run / name).write_bytes(content)


def hide(*names):
    return lambda run: [(run / name).chmod(0) for name in names]


def without(*names, config=None):
    def damage(run):
        for name in names:
            (run / name).unlink()
        if config is not None:
            (run / "config.json").write_bytes(config)

    return damage


def folder(name):
    def damage(run):
        (run / name).unlink()
        (run / name).mkdir()

    return damage


def link_to_itself(name):
    def damage(run):
        (run / name).unlink()
        (run / name).symlink_to(name)

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (write("config.json", b"{half"), "config.json:1: not JSON"),
        (write("config.json", b"\xff\xfe"), "config.json: cannot be read: 'utf-8' codec"),
        (write("config.json", b"[" * 10**5), "config.json: not JSON that can be read"),
        (write("config.json", b'{"verb": [1], "config": {}}'), "verb: expected str, got list"),
        (write("config.json", b'{"verb": "train", "config": 1}'), "config: expected dict, got int"),
        (write("versions.json", b'{"before": 7}'), "versions.json: before: expected list, got int"),
        (write("versions.json", b'{"processes": "4"}'), "processes: expected int, got str"),
        (write("versions.json", b'{"command": "x"}'), "command: expected list, got str"),
        (write("config.json", b'{"verb": "star", "config": {"rounds": 1e999}}'), "OverflowError"),
        (write("config.json", b'{"verb": "prepare", "config": {"mixtures": 5}}'), "TypeError"),
        (write(".lock", b"nonsense"), ".lock: expected a host and a process"),
        (write("workers/a.json", b"[]"), "a.json: not a heartbeat"),
        (without("config.json"), "config.json: no such file, so the settings are unknown"),
        (without("versions.json", "log.txt", config=b"{half"), "config.json:1: not JSON"),
        (without("versions.json", config=b"[]"), "config.json: expected a JSON object, got list"),
        (hide("config.json"), "config.json: cannot be read: Permission denied"),
        (hide("log.txt"), "log.txt: cannot be read: Permission denied"),
        (hide("metrics.jsonl"), "metrics.jsonl: cannot be read: Permission denied"),
        (hide("workers"), "workers: cannot be read: Permission denied"),
        (folder("config.json"), "config.json: cannot be read: Is a directory"),
        (folder("result.json"), "result.json: cannot be read: Is a directory"),
        (link_to_itself("config.json"), "config.json: cannot be read: Too many levels of symbolic"),
        (link_to_itself("log.txt"), "log.txt: cannot be read: Too many levels of symbolic"),
    ],
)
def test_a_damaged_run_keeps_its_line_with_the_reason(runs, typed, damage, said):
    (runs / "b" / "workers").mkdir()
    damage(runs / "b")
    with limited_rights():
        code, text, errors = typed(runs)
        (block,) = [one for one in json.loads(typed(runs, "--json")[1]) if one["run"].endswith("b")]
    assert (code, errors) == (0, "")
    assert "damaged: " in line_of("b", text) and said in line_of("b", text)
    assert block["state"] == "finished" and said in block["damaged"][0]
    for name in NAMES[:1] + NAMES[2:]:
        assert line_of(name, text).endswith("step 100/100, loss 2.500")
    assert text.splitlines()[-1] == "5 runs: 5 finished"


@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_a_run_whose_folder_cannot_be_read_is_unreadable_and_the_exit_status_says_so(
    runs, typed, mode
):
    (runs / "b").chmod(mode)
    with limited_rights():
        code, text, _ = typed(runs)
    assert code == 2
    assert line_of("b", text).startswith("unreadable  ?      ")
    assert "cannot be read: Permission denied" in line_of("b", text)
    assert text.splitlines()[-1] == "5 runs: 1 unreadable, 4 finished"


def test_an_unreadable_run_alone_is_shown_as_a_block(runs, typed):
    for name in NAMES[2:]:
        shutil.rmtree(runs / name)
    (runs / "b").chmod(0)
    with limited_rights():
        code, text, _ = typed(runs)
        seen = json.loads(typed(runs, "--json")[1])
    advice = "cannot be read: Permission denied; give yourself access to it"
    assert code == 2 and text.endswith(f"{runs}/b: unreadable\n  reason      {advice}\n")
    assert [one["state"] for one in seen] == ["finished", "unreadable"]


def test_a_folder_that_may_not_be_listed_is_an_error(runs, typed):
    runs.chmod(0)
    with limited_rights():
        code, text, errors = typed(runs)
        assert typed(f"{runs}/b")[0] == 2
    assert (code, text) == (2, "")
    assert errors.startswith(f"teacherlm: {runs}") and "Permission denied" in errors


def test_an_unreadable_step_of_a_pipeline_leaves_the_others_known(runs, typed):
    steps = [{"name": name, "output": f"runs/{name}"} for name in NAMES]
    config = {"verb": "pipeline", "config": {"output": "runs", "steps": [*steps, {"name": "f"}]}}
    files.write_json(runs / "config.json", config)
    (runs / "b").chmod(0)
    (runs / "c").rename(runs / "moved")
    (runs / "c").mkdir()
    (runs / "moved").rename(runs / "c" / "rate_0")
    (runs / "d").rename(runs / "c" / "rate_1")
    (runs / "c" / "rate_1").chmod(0)
    with limited_rights():
        code, text, _ = typed(runs, "--json")
    states = {step["name"]: step["state"] for step in json.loads(text)[0]["steps"]}
    assert code == 0
    assert states == {
        "a": "finished",
        "b": "unreadable",
        "c": "unreadable",
        "d": "waiting",
        "e": "finished",
        "f": "waiting",
    }


def test_rounds_of_star_that_cannot_be_read_are_named(runs, typed):
    files.write_json(runs / "config.json", {"verb": "star", "config": {"rounds": 10**12}})
    (runs / "b").chmod(0)
    with limited_rights():
        (seen,) = json.loads(typed(runs, "--json")[1])
    assert {step["name"]: step["state"] for step in seen["steps"]}["b"] == "unreadable"
    assert len(seen["steps"]) == len(NAMES)


def test_a_run_that_the_store_refuses_leaves_the_others_known(proxy, bucket, begin, typed):
    for name in NAMES:
        with begin(training(f"{bucket}/runs/{name}")) as run:
            run.finish({"step": 100})
    proxy.fail(403, "read", path="runs/b/")
    code, text, _ = typed(f"{bucket}/runs")
    assert code == 2
    assert line_of("b", text).startswith("unreadable")
    assert "permission denied" in line_of("b", text)
    assert text.splitlines()[-1] == "5 runs: 1 unreadable, 4 finished"


def test_paths_after_one_that_the_store_refuses_are_shown(proxy, bucket, runs, typed):
    proxy.fail(403, "list|stat|bucket")
    code, text, errors = typed(f"{bucket}/runs", runs)
    assert code == 2 and "5 runs: 5 finished" in text and "permission denied" in errors


def test_watching_ends_with_the_exit_status_of_what_is_missing(runs, typed, monkeypatch):
    monkeypatch.setattr(show.time, "sleep", lambda seconds: None)
    code, text, errors = typed(runs, f"{runs}/nothing", "--watch", "--json")
    assert code == 2 and len(text.splitlines()) == 1 and len(json.loads(text)) == 5
    assert errors == f"{runs}/nothing: no such folder; name the config.output of a command\n"
    assert typed(f"{runs}/nothing", "--watch")[0] == 2


@pytest.mark.parametrize("address", ["s3://b/runs", "hf://a/b", "https://a/b"])
def test_addresses_that_hold_no_runs_are_refused(typed, address):
    code, _, errors = typed(address)
    assert code == 2
    assert errors.startswith(f"teacherlm: RUN: {address} is not supported; expected paths on this")
