"""The command `status` as users type it."""

import json
import os
import subprocess
import sys
import time

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.status import show
from teacherlm_jax.storage import files
from teacherlm_jax.storage.atomic_folder import whole_or_nothing
from tests.status.made_runs import log_steps, training


@pytest.fixture
def typed(capsys):
    """A function that runs `teacherlm status`; it returns its exit status and what it printed."""

    def run(*words):
        capsys.readouterr()  # of the runs that the test has made
        code = main.main(["status", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_one_run_is_shown_as_a_block_and_as_json(stopped, typed):
    code, text = typed(stopped)
    assert code == 0 and text.startswith(f"{stopped}: train, stopped\n")
    assert "next        resume it" in text and "teacherlm train --config=mine.py" in text
    code, text = typed(stopped, "--json")
    (status,) = json.loads(text)
    assert code == 0 and status["state"] == "stopped" and status["progress"]["step"] == 40
    assert json.loads(typed("--json", stopped)[1])[0]["state"] == "stopped"
    assert not typed(stopped, "--json", "false")[1].startswith("[")


def test_a_folder_of_runs_is_shown_as_all_its_runs(stopped, failed, finished, root, typed):
    code, text = typed(root)
    assert code == 0
    for folder, state in ((stopped, "stopped"), (failed, "failed"), (finished, "finished")):
        assert f"{folder}: train, {state}" in text


def test_many_runs_get_a_line_each(tmp_path, begin, typed):
    for number in range(5):
        with begin(training(str(tmp_path / f"sweep/rate_{number}"))) as run:
            log_steps(run, 20)
            if number:
                run.finish({"step": 100})
    code, text = typed(tmp_path / "sweep")
    assert code == 0
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["stopped", *["finished"] * 4]
    assert "rate_0" in lines[0] and "step 20/100, loss 2.500" in lines[0]
    assert lines[-1] == "5 runs: 1 stopped, 4 finished"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("", "no such folder; name the config.output of a command"),
        ("empty/", "expected a run or a folder with runs, found an empty folder"),
        ("notes.txt", "is a file"),
        ("mix/manifest.json", "a mixture that `prepare` wrote"),
        ("data/a.csv", "folder with runs, found a.csv; name the config.output"),
    ],
)
def test_a_path_without_a_run_is_one_clear_error(tmp_path, typed, make, message):
    path = tmp_path / make
    if make.endswith("/"):
        path.mkdir()
    elif make:
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        path = path if make == "notes.txt" else path.parent
    else:
        path = tmp_path / "nothing"
    code, text = typed(path)
    assert code == 2
    assert text.startswith(f"teacherlm: {str(path).rstrip('/')}: ") and message in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("root", ["disk"], indirect=True)
def test_a_part_of_a_run_names_the_run(stopped, typed):
    for part in ("checkpoints/20", "log.txt"):
        code, text = typed(f"{stopped}/{part}")
        assert code == 2 and f"is a part of the run {stopped}; name that folder" in text


@pytest.mark.parametrize("root", ["disk"], indirect=True)
def test_paths_without_a_run_among_others_are_named_after_the_runs(stopped, typed, tmp_path):
    (tmp_path / "data").mkdir()
    code, text = typed(f"{tmp_path}/data", stopped, f"{tmp_path}/nothing")
    assert code == 2
    assert text.index(str(stopped)) < text.index("data: expected a run or a folder with runs")
    assert text.splitlines()[-1].startswith(f"{tmp_path}/nothing: no such folder")
    code, text = typed(f"{tmp_path}/data", f"{tmp_path}/nothing")
    assert code == 2 and "data: expected a run" in text and "nothing: no such folder" in text


def test_a_bucket_that_is_not_there_is_named(bucket, typed):
    code, text = typed("gs://no-such-bucket/runs")
    assert code == 2 and "there is no bucket gs://no-such-bucket" in text


def test_a_folder_in_a_bucket_without_a_run_is_an_error(bucket, typed):
    files.write_text(f"{bucket}/data/a.csv", "x")
    code, text = typed(f"{bucket}/data")
    assert code == 2 and "expected a run" in text and "a.csv" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected RUN [RUN ...], got nothing"),
        (("a", "--config=x.py"), "this command has no config"),
        (("a", "--wach"), "did you mean --watch?"),
        (("a", "--watch", "--every=0"), "0.0 is not in [1, 3600]"),
        (("a", "--json=perhaps"), "expected a bool"),
    ],
)
def test_a_wrong_command_line_is_refused(typed, words, message):
    code, text = typed(*words)
    assert code == 2 and message in text


def test_a_command_line_can_be_checked_alone(typed):
    assert typed("runs/nothing", "--validate") == (
        0,
        "teacherlm status: the command line is valid\n",
    )


def test_a_misspelled_command_suggests_this_one(capsys):
    assert main.main(["statsu"]) == 2
    assert "did you mean 'status'?" in capsys.readouterr().err


def test_watching_ends_when_all_runs_are_finished(tmp_path, begin, typed, monkeypatch):
    settings = training(str(tmp_path / "student"))
    looks = []

    def finish_at_third(seconds):
        looks.append(seconds)
        with begin(settings) as run:
            if len(looks) == 2:
                run.finish({"step": 100})

    with begin(settings) as run:
        log_steps(run, 20)
    monkeypatch.setattr(show.time, "sleep", finish_at_third)
    code, text = typed(tmp_path / "student", "--watch", "--every=7")
    assert code == 0 and len(looks) == 2 and 0 < looks[0] <= 7
    assert text.count(": train, stopped") == 2 and text.count(": train, finished") == 1
    assert "every 7 s; Ctrl-C ends this, not the run" in text


def test_watching_as_json_prints_a_line_each_time(finished, typed):
    code, text = typed(finished, "--watch", "--json")
    assert code == 0 and len(text.splitlines()) == 1
    assert json.loads(text)[0]["state"] == "finished"


def test_a_terminal_is_cleared_by_each_look_and_by_no_name(tmp_path, begin, typed, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with begin(training(str(tmp_path / "a\x1b[2Jb"))) as run:
        run.finish({"step": 100})
    code, text = typed(tmp_path / "a\x1b[2Jb", "--watch")
    assert code == 0 and text.startswith("\x1b[2J\x1b[H") and "a�[2Jb: train, finished" in text
    assert text.count("\x1b") == 2
    code, text = typed(tmp_path / "c\x1b[2Jd")  # an error
    assert code == 2 and "c�[2Jd" in text and "\x1b" not in text


def test_ctrl_c_ends_watching_quietly(stopped, typed, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(show.time, "sleep", interrupt)
    assert typed(stopped, "--watch")[0] == 0


def test_watching_survives_a_store_that_fails_for_a_while(proxy, bucket, begin, typed, monkeypatch):
    with begin(training(f"{bucket}/student")) as run:
        run.finish({"step": 100})
    fault = proxy.fail(403, "list", times=1)
    monkeypatch.setattr(show.time, "sleep", lambda seconds: None)
    code, text = typed(f"{bucket}/student", "--watch")
    assert code == 0 and fault.failed == 1
    assert "permission denied" in text and ": train, finished" in text


def test_a_run_that_is_being_written_can_be_read_at_any_moment(tmp_path, begin, typed):
    """A process writes as fast as it can while the status is read."""
    output = tmp_path / "student"
    code = (
        "import sys, time\n"
        "from teacherlm_jax.runs import run_folder\n"
        "from teacherlm_jax.storage import files\n"
        "from tests.status.made_runs import log_steps, training\n"
        "with run_folder.open_run(sys.argv[1], 'train', training(sys.argv[1])) as run:\n"
        "    end, step = time.monotonic() + 4, 0\n"
        "    while time.monotonic() < end:\n"
        "        step += 1\n"
        "        log_steps(run, step)\n"
        "        files.write_json(run.path / 'result.json', {'step': step})\n"
        "        run.reopen()\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(output)], cwd=os.getcwd())
    try:
        while not (output / "metrics.jsonl").exists():
            assert writer.poll() is None
            time.sleep(0.01)
        states = set()
        while writer.poll() is None:
            code, text = typed(output, "--json")
            (status,) = json.loads(text)
            assert code == 0 and status["damaged"] == [], status
            states.add(status["state"])
    finally:
        writer.kill()
        writer.wait()
    assert "running" in states


def test_a_look_imports_neither_jax_nor_tensorflow(tmp_path, begin):
    with begin(training(str(tmp_path / "student"))) as run:
        log_steps(run, 20)
    code = (
        "import sys\n"
        "from teacherlm_jax.cli import main\n"
        "status = main.main(['status', sys.argv[1]])\n"
        "heavy = {'jax', 'tensorflow', 'flax', 'orbax', 'seqio', 'gcsfs', 'torch', 'pandas'}\n"
        "print(status, sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "student")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0 []"


def test_an_export_in_progress_and_a_complete_one_are_shown(tmp_path, typed):
    partial = tmp_path / ".model.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(bytes(1000))
    code, text = typed(tmp_path / "model")
    assert code == 0 and f"{tmp_path}/model: convert, running" in text
    assert "an export in progress: 1 file," in text
    os.utime(partial / "model.safetensors", (0, 0))
    assert ": convert, stopped" in typed(tmp_path / "model")[1]
    (partial / "config.json").write_text('{"model_type": "bloom"}')
    partial.rename(tmp_path / "model")
    assert ": convert, finished" in typed(tmp_path / "model")[1]


def test_exported_adapters_are_shown(tmp_path, typed):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_text("{}")
    assert ": convert, finished" in typed(tmp_path)[1]


def test_an_export_to_a_bucket_is_running_while_its_lock_is_held(bucket, typed):
    with whole_or_nothing(f"{bucket}/model") as folder:
        files.write_text(folder.path / "config.json", "{}")
        files.write_text(folder.path / "model.safetensors", "x" * 10)
        assert ": convert, running" in typed(f"{bucket}/model")[1]
    assert ": convert, finished" in typed(f"{bucket}/model")[1]
