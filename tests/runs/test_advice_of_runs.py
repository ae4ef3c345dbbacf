"""Advice in messages about run folders and processes, followed."""

import dataclasses
import re
import shutil

import pytest

from teacherlm_jax.config import TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import local
from teacherlm_jax.runs import distributed, run_folder
from teacherlm_jax.storage import files

ADDRESS = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}


def refusal(function, *arguments, **options):
    with pytest.raises(UserError) as raised:
        function(*arguments, **options)
    return str(raised.value)


def open_run(output, **settings):
    config = TrainConfig(output=str(output), data="d", **settings)
    with run_folder.open_run(config.output, "train", config) as run:
        return run


@pytest.fixture
def started(tmp_path):
    """A run folder in which work has begun."""
    open_run(tmp_path / "run")
    files.write_jsonl(tmp_path / "run" / "metrics.jsonl", [{"step": 1}])
    (tmp_path / "run" / "checkpoints" / "1").mkdir(parents=True)
    return tmp_path / "run"


def test_the_output_that_a_message_names_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = re.search(r"as in --config\.output=(\S+)$", refusal(open_run, ""))[1]
    assert open_run(output).path.is_dir()


def test_a_folder_is_opened_instead_of_a_file_or_another_store(tmp_path):
    (tmp_path / "file").touch()
    assert "is a file; config.output must name a folder" in refusal(open_run, tmp_path / "file")
    assert "expected a folder on this machine" in refusal(open_run, "s3://bucket/run")
    assert open_run(tmp_path / "mounted" / "run").path.is_dir()


@pytest.mark.parametrize("way", ["choose another config.output", "remove the folder"])
def test_a_run_with_other_settings_starts_after_each_remedy(started, way):
    message = refusal(open_run, started, seed=1)
    assert "choose another config.output, or remove the folder to start over" in message
    if way == "remove the folder":
        shutil.rmtree(message.partition(": this run was started")[0])
        assert open_run(started, seed=1).path.is_dir()
    else:
        assert open_run(started.with_name("other"), seed=1).path.is_dir()


def test_a_run_continues_with_the_setting_that_it_was_started_with(started):
    message = refusal(open_run, started, seed=1)
    value = re.search(r"was started with config\.seed=(\d+), but", message)[1]
    assert open_run(started, seed=int(value)).path == started


@pytest.mark.parametrize("way", ["restore them to resume the run", "choose another config.output"])
def test_a_run_with_other_inputs_goes_on_after_each_remedy(started, way):
    def check(output, digest):
        config = TrainConfig(output=str(output), data="d")
        with run_folder.open_run(config.output, "train", config) as run:
            run.check_inputs({"data": digest})
            return run.path

    files.write_json(started / "inputs.json", {"data": "sha256:a"})
    message = refusal(check, started, "sha256:b")
    assert message.endswith("; restore them to resume the run, or choose another config.output")
    if way.startswith("restore"):
        digest = re.search(r"config\.data=\S+ \(digest \S+, was (\S+)\)", message)[1]
        assert check(started, digest) == started
    else:
        assert check(started.with_name("other"), "sha256:b").is_dir()


def test_a_folder_that_all_processes_see_is_opened(tmp_path, monkeypatch):
    blind = [1, 3]
    monkeypatch.setattr(run_folder.distributed, "without", lambda see: blind)
    message = refusal(open_run, tmp_path / "run")
    assert "processes 1, 3 do not see this folder; put config.output in a bucket or" in message
    blind.clear()
    assert open_run(tmp_path / "run").path.is_dir()  # the refused run holds no lock


@pytest.mark.parametrize("wrong", ADDRESS)
def test_a_process_finds_its_place_with_all_three_variables_or_none(wrong):
    message = refusal(distributed.place, {**ADDRESS, wrong: ""})
    names = re.findall(r"(JAX_\w+)='", message)
    assert message.endswith("set all three, or none") and sorted(names) == sorted(ADDRESS)
    assert distributed.place(dict(zip(names, ("a:1", "2", "1"), strict=True))) == (
        distributed.ProcessAddress("a:1", 2, 1)
    )
    assert distributed.place({}) is None


def test_a_verb_of_one_process_starts_without_a_launcher(monkeypatch):
    for name, value in ADDRESS.items():
        monkeypatch.setenv(name, value)
    assert "start it without a launcher" in refusal(distributed.start, "report", together=False)
    for name in ADDRESS:
        monkeypatch.delenv(name)
    distributed.start("report", together=False)
    assert distributed.process_count() == 1


def test_all_modes_that_a_message_names_are_accepted(monkeypatch):
    monkeypatch.setenv(distributed.MODE, "yes")
    message = refusal(distributed.require_able, "train", together=True)
    auto, alone = re.search(r"expected (\w+), (\w+), or unset$", message).groups()
    monkeypatch.setenv(distributed.MODE, auto)
    assert distributed.require_able("train", together=True)
    monkeypatch.setenv(distributed.MODE, alone)
    assert not distributed.require_able("train", together=True)
    monkeypatch.delenv(distributed.MODE)
    assert not distributed.require_able("train", together=True)


def test_the_launcher_that_a_message_names_gives_every_process_the_same_devices():
    @dataclasses.dataclass
    class Device:
        process_index: int

    message = refusal(distributed.refuse_uneven, [Device(0), Device(1), Device(1)])
    count = re.search(r"as in launch/local\.py --devices=(\d+)$", message)[1]
    environments = local.environments_of(2, int(count), {})
    assert {env["XLA_FLAGS"] for env in environments} == {
        f"--xla_force_host_platform_device_count={count}"
    }
    distributed.refuse_uneven([Device(index) for index in range(2) for _ in range(int(count))])
