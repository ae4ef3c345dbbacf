"""The versions that a run records."""

import subprocess

import pytest

from teacherlm_jax.runs import versions


@pytest.mark.parametrize(
    ("changed", "ending", "ending_of_new"),
    [
        ("docs/page.md", "", ""),
        ("benchmarks/results/speed.json", "", ""),
        ("configs/train.py", "+changes", ""),
        ("tests/test_ä.py", "+changes", "+changes"),
        ("benchmarks/speed.py", "+changes", "+changes"),
        ("teacherlm_jax/models/decoder.py", "+changes", "+changes"),
    ],
)
def test_the_commit_tells_whether_files_that_decide_something_differ_from_it(
    changed, ending, ending_of_new, tmp_path, monkeypatch
):
    module = tmp_path / "teacherlm_jax/runs/versions.py"
    for path in (module, tmp_path / changed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before", encoding="utf-8")

    def git(*words):
        names = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        command = ["git", *names, *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=all")
    monkeypatch.delenv(versions.COMMIT, raising=False)
    monkeypatch.setattr(versions, "__file__", str(module))
    commit = git("rev-parse", "HEAD").decode().strip()
    assert versions.versions()["commit"] == commit
    (tmp_path / changed).write_text("after", encoding="utf-8")
    assert versions.versions()["commit"] == commit + ending
    git("checkout", ".")
    git("config", "status.showUntrackedFiles", "no")  # as some users have it
    (tmp_path / changed).with_stem("new").write_text("new", encoding="utf-8")
    assert versions.commit() == commit + ending_of_new


def test_the_commit_of_a_copy_is_unknown_unless_the_environment_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "teacherlm_jax/runs/versions.py"))
    monkeypatch.delenv(versions.COMMIT, raising=False)
    assert versions.commit() == "unknown"
    monkeypatch.setenv(versions.COMMIT, "1234567")
    assert versions.commit() == "1234567"


@pytest.mark.parametrize(
    ("recorded", "short"),
    [
        ("a" * 40, "a" * 7),
        (f"{'b' * 40}+changes", "bbbbbbb+changes"),
        ("unknown", "unknown"),
    ],
)
def test_a_short_commit_keeps_its_changes(recorded, short):
    assert versions.short_commit(recorded) == short
