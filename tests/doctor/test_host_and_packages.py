"""Findings about memory, disks, Python and packages."""

import os
from pathlib import Path

import pytest

from teacherlm_jax import host_memory
from teacherlm_jax.doctor import host, packages
from teacherlm_jax.wording import GIB
from tests.limited_file_size import limited_file_size
from tests.limited_rights import limited_rights


@pytest.mark.parametrize(("free", "verdict"), [(8, "ok"), (3, "warning"), (1, "problem")])
def test_free_memory_decides_the_verdict(monkeypatch, free, verdict):
    monkeypatch.setattr(host_memory, "available", lambda: free * GIB)
    finding = host.memory()
    assert finding.verdict == verdict and f"{free}.0 of " in finding.text


def test_the_memory_of_a_container_counts(monkeypatch, tmp_path):
    (tmp_path / "max").write_text(str(3 * GIB))
    (tmp_path / "current").write_text(str(2 * GIB))
    assert host_memory.available() <= host_memory.limit()
    monkeypatch.setattr(host_memory, "_CGROUP", tmp_path / "max")
    monkeypatch.setattr(host_memory, "_USED", tmp_path / "current")
    assert host_memory.limit() == 3 * GIB
    assert host_memory.available() == GIB


class Space:
    """The answer of a disk."""

    f_frsize, f_blocks, f_files, f_favail = 2**20, 100 * 1024, 10**6, 10**6

    def __init__(self, gib):
        self.f_bavail = int(gib * 1024)


@pytest.mark.parametrize(("free", "verdict"), [(50, "ok"), (5, "warning"), (0.5, "problem")])
def test_free_space_decides_the_verdict(monkeypatch, tmp_path, free, verdict):
    monkeypatch.setattr(host.os, "statvfs", lambda path: Space(free))
    finding = host.disk("disk", tmp_path)
    assert finding.verdict == verdict and "of 100.0 GiB free" in finding.text
    assert not any(tmp_path.iterdir())


def test_a_full_disk_with_few_files_left_is_a_problem(monkeypatch, tmp_path):
    space = Space(0.5)
    space.f_favail = 12
    monkeypatch.setattr(host.os, "statvfs", lambda path: space)
    assert host.disk("disk", tmp_path).verdict == "problem"


def test_a_machine_whose_temporary_folders_take_no_file_has_a_problem(monkeypatch, tmp_path):
    missing = str(tmp_path / "nothing")
    monkeypatch.setattr(host.tempfile, "tempdir", None)
    monkeypatch.setattr(host.tempfile, "_candidate_tempdir_list", lambda: [missing])
    (finding,) = host.disks(None)
    assert finding.verdict == "problem" and missing in finding.text and "TMPDIR" in finding.remedy


def test_a_folder_that_may_not_be_seen_is_a_problem(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with limited_rights():
        finding = host.disk("disk", tmp_path / "closed/runs")
    assert finding.verdict == "problem" and "closed: Permission denied" in finding.text


def test_few_files_are_a_warning(monkeypatch, tmp_path):
    space = Space(50)
    space.f_favail = 12
    monkeypatch.setattr(host.os, "statvfs", lambda path: space)
    finding = host.disk("disk", tmp_path)
    assert finding.verdict == "warning" and "only 12 more files" in finding.text


def test_a_disk_that_takes_no_more_bytes_is_a_problem(tmp_path):
    with limited_file_size(1000):
        finding = host.disk("disk", tmp_path)
    assert finding.verdict == "problem" and "File too large" in finding.text
    assert "make room" in finding.remedy


def test_a_full_disk_is_a_problem(monkeypatch, tmp_path):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(host.os, "fsync", full)
    finding = host.disk("disk", tmp_path)
    assert finding.verdict == "problem" and f"{tmp_path}: No space left on device" in finding.text


def test_a_folder_that_does_not_exist_is_examined_where_it_would_be(tmp_path):
    finding = host.disk("disk", tmp_path / "runs/new")
    assert str(tmp_path / "runs/new") in finding.text
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").touch()
    finding = host.disk("disk", tmp_path / "file")
    assert finding.verdict == "problem" and "is a file" in finding.text


def test_temporary_files_are_examined_for_a_run_in_a_bucket():
    assert [finding.name for finding in host.disks(None)] == ["temporary files"]


def test_pins_are_those_of_this_python_and_platform(tmp_path):
    text = (
        "# comment\njax==1.0 ; python_full_version < '3'\njax==2.0 ; python_full_version >= '3'\n"
        "Some_Name==1.5  # via x\n\n-r other.txt\nranges>=2\n"
    )
    (tmp_path / "pins.txt").write_text(text)
    assert dict(packages._read_pins(tmp_path / "pins.txt")) == {"jax": "2.0", "some-name": "1.5"}


def findings(monkeypatch, tmp_path, pins, installed):
    (tmp_path / "requirements.txt").write_text(pins)
    monkeypatch.setattr(packages, "_PINS", tmp_path / "requirements.txt")
    monkeypatch.setattr(packages, "_installed", lambda: installed)
    return {finding.name: finding for finding in packages.packages()}


def test_versions_that_differ_from_the_pins_are_a_warning(monkeypatch, tmp_path):
    installed = packages._installed()
    pins = f"numpy=={installed['numpy']}\njax==9.9\nabsent-package==1.0\n"
    finding = findings(monkeypatch, tmp_path, pins, installed)["pins"]
    assert finding.verdict == "warning"
    assert finding.text == (f"jax {installed['jax']} (pinned 9.9), absent-package is not installed")
    assert "pip install -r requirements.txt" in finding.remedy
    (tmp_path / "requirements-gcs.txt").write_text("gcsfs==1.0\nnot-needed==2.0\n")
    finding = findings(monkeypatch, tmp_path, "", installed)["pins"]
    assert finding.text == f"gcsfs {installed['gcsfs']} (pinned 1.0)"


def test_a_package_that_is_too_old_or_missing_is_a_problem(monkeypatch, tmp_path):
    installed = {**packages._installed(), "flax": "0.1.0"}
    del installed["optax"]
    all_findings = findings(monkeypatch, tmp_path, "", installed)
    needs = all_findings["requirements"]
    assert needs.verdict == "problem"
    assert (
        "flax 0.1.0 (teacherlm_jax needs" in needs.text and "optax is not installed" in needs.text
    )
    assert all_findings["packages"].verdict == "problem"


def test_without_a_clone_pins_are_not_compared(monkeypatch):
    monkeypatch.setattr(packages, "_PINS", Path("missing"))
    assert {one.name: one.verdict for one in packages.packages()}["pins"] == "skipped"


def test_another_python_is_a_problem(monkeypatch):
    assert packages.python().verdict == "ok"
    monkeypatch.setattr(packages.platform, "python_version", lambda: "3.9.1")
    finding = packages.python()
    assert finding.verdict == "problem" and "3.9.1, but " in finding.text


def test_the_environment_of_these_tests_has_what_it_needs():
    found = {one.name: one for one in packages.packages()}
    assert found["requirements"].verdict == "ok", found["requirements"].text
    assert os.path.exists(packages._PINS)
