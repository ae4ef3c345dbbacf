"""The Dockerfile installs the pinned packages in every target, and nothing else."""

import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from tests import container, dockerfile

ROOT = Path(__file__).parents[1]
STAGES = dockerfile.stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
TARGETS = ("cpu", "cuda", "tpu")


PACKAGES = {target: f"{target}-packages" if target != "cpu" else "packages" for target in TARGETS}


def commands_of(stage, tool):
    """Words of the commands of a stage that begin with a tool, in its RUN lines."""
    runs = (rest for word, rest in dockerfile.steps_of(stage, STAGES) if word == "RUN")
    commands = (shlex.split(command) for run in runs for command in run.split("&&"))
    return [words for words in commands if words[0] == tool]


def copies_of(stage):
    """Stage, sources and destination of each COPY of a stage, with those of its base."""
    steps = dockerfile.steps_of(stage, STAGES)
    return [dockerfile.copied(rest) for word, rest in steps if word == "COPY"]


@pytest.mark.parametrize("target", TARGETS)
def test_packages_are_installed_only_from_the_files_of_pins(target):
    extra = [f"requirements-{target}.txt"] if target != "cpu" else []
    files = ["requirements-gcs.txt", *extra]
    commands = commands_of(PACKAGES[target], "pip")
    assert commands == [["pip", "install", "-r", file] for file in files]
    assert copies_of(PACKAGES[target]) == [("", [file], "./") for file in files]


@pytest.mark.parametrize("target", TARGETS)
def test_images_differ_only_in_their_packages(target):
    assert STAGES[target].base == "base" and STAGES["base"].base == "python"
    environment = "NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility"
    assert STAGES[target].steps == [
        *([("ENV", environment)] if target == "cuda" else []),
        ("COPY", f"--from={PACKAGES[target]} /opt/teacherlm /opt/teacherlm"),
        ("COPY", "--from=program /program /"),
    ]
    assert not commands_of(target, "pip")


def test_everything_that_is_copied_exists_and_is_in_the_build_context():
    for stage in STAGES.values():
        for word, rest in stage.steps:
            if word == "COPY" and not dockerfile.copied(rest)[0]:
                for name in dockerfile.copied(rest)[1]:
                    assert (ROOT / name).exists(), f"{stage.name}: {name}"
                    assert not dockerfile.is_ignored(name, IGNORE), f"{stage.name}: {name}"


def test_the_wheel_has_all_files_that_building_it_needs():
    assert STAGES["program"].base == "packages"
    build, install = commands_of("program", "pip")[1:]
    assert "--no-build-isolation" in build  # with the pinned setuptools
    assert install[1:] == [
        *("install", "--no-deps", "--no-index", "--no-warn-script-location"),
        *("--find-links", "dist", "--root", "/program", "teacherlm_jax"),
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {"pyproject.toml", "teacherlm_jax", project["readme"], *project["license-files"]}
    assert needed == {name for _, names, _ in copies_of("program")[1:] for name in names}


@pytest.mark.parametrize("name", ["runs/a/log.txt", ".git/config", ".venv/bin/pip", "data/x.jsonl"])
def test_data_runs_and_history_stay_out_of_the_build_context(name):
    assert dockerfile.is_ignored(name, IGNORE)
    assert dockerfile.is_ignored("teacherlm_jax/cli/__pycache__/main.pyc", IGNORE)
    assert not dockerfile.is_ignored("teacherlm_jax/cli/main.py", IGNORE)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_teacherlm_without_root_and_without_buffering_its_output(target):
    steps = dockerfile.steps_of(target, STAGES)
    last = dict(steps)
    assert (last["USER"], last["WORKDIR"]) == ("teacherlm", "/home/teacherlm")
    assert json.loads(last["ENTRYPOINT"]) == ["teacherlm"]
    variables = " ".join(rest for word, rest in steps if word == "ENV")
    assert "PYTHONUNBUFFERED=1" in variables
    assert "TEACHERLM_COMMIT=$COMMIT" in variables


def test_the_page_on_installation_says_what_the_images_have():
    images = {dockerfile.image_of(target, STAGES) for target in TARGETS}
    assert images == {"debian:trixie-slim"}
    assert "Debian 13 (trixie) with Python 3.13" in PAGE
    compilers = commands_of("packages", "apt-get")[-1][-3:]
    assert f"sudo apt-get install {' '.join(compilers)}" in PAGE
    built = re.findall(r"docker build --target (\w+)", PAGE)
    assert set(built) == set(TARGETS)


def test_the_instructions_are_run_for_every_target():
    assert set(container.TRIED) == set(TARGETS)
    assert set(STAGES) == {*TARGETS, *PACKAGES.values(), "python", "program", "base"}


def test_where_the_images_cannot_be_built_the_reason_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "debootstrap" else name)
    monkeypatch.setattr(sys, "argv", ["container", "cpu"])
    assert container.main() == 2
    assert capsys.readouterr().err == (
        "test-container: not run: no debootstrap; on Debian: apt-get install debootstrap\n"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert container.missing() == "this needs root, for chroot and debootstrap"


def test_an_instruction_that_the_reader_does_not_know_is_an_error():
    with pytest.raises(AssertionError, match="HEALTHCHECK: this reader does not know"):
        dockerfile.stages("FROM a AS b\nHEALTHCHECK NONE\n")


def test_lines_are_continued_and_comments_dropped():
    found = dockerfile.stages("FROM a AS b\n# no\nRUN one \\\n && two\nFROM b AS c\nUSER d\n")
    assert dockerfile.steps_of("c", found) == [("RUN", "one && two"), ("USER", "d")]
    assert dockerfile.image_of("c", found) == "a"
