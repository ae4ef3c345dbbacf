import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import teacherlm_jax
from teacherlm_jax.launching import local

ROOT = Path(teacherlm_jax.__file__).parents[1]
HOSTILE = "--config.title=two  spaces, 'single', \"double\", $HOME `id` $(id); echo no && * ~ | >\n"


def test_every_value_arrives_unchanged(tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    words = ["train", HOSTILE, "", "--", "--processes=9"]
    assert local.main(["--processes=2", f"--logs={tmp_path}", "--", *words]) == 0
    for number in range(2):
        line = (tmp_path / f"process-{number}.txt").read_text()
        assert json.loads(line) == ["-m", "teacherlm_jax", *words]


def test_processes_get_one_address_and_their_own_devices():
    before = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8 --other", "HOME": "/h"}
    first, second = local.environments_of(2, 4, before)
    assert first["XLA_FLAGS"].split() == ["--other", "--xla_force_host_platform_device_count=4"]
    assert first["JAX_COORDINATOR_ADDRESS"].startswith("127.0.0.1:")
    assert (first["JAX_NUM_PROCESSES"], first["JAX_PROCESS_ID"]) == ("2", "0")
    assert second == {**first, "JAX_PROCESS_ID": "1"}
    assert first["HOME"] == "/h"


def test_a_single_process_is_not_distributed():
    (only,) = local.environments_of(1, 1, {})
    assert not {"JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"} & only.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "unrecognized arguments: train"),
        (["--processes=2"], "no command"),
        (["--processes=0", "--", "train"], "'0': expected a positive integer"),
    ],
)
def test_an_invalid_command_line_of_the_launcher_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as refusal:
        local.main(arguments)
    assert refusal.value.code == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_prints_the_command_of_each_process_and_starts_none(tmp_path, monkeypatch, capfd):
    started = []
    monkeypatch.setattr(local.command_check, "require_valid", lambda *_: None)
    monkeypatch.setattr(local.processes, "run", started.append)
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    words = ["train", "--config.title=a  b", "--config.path=hf_abcdefgh"]
    assert local.main(["--processes=2", "--dry_run", "--", *words]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert "hf_abcdefgh" not in first + second and not started
    assert shlex.split(first)[-3:] == [*words[:2], "--config.path=***"]
    assert "JAX_NUM_PROCESSES=2" in first and "JAX_PROCESS_ID=0" in first
    assert "JAX_PROCESS_ID=1" in second


def test_a_dry_run_refuses_an_invalid_command(capfd):
    assert local.main(["--dry_run", "--", "trian", "--config=x.py"]) == 2
    shown = capfd.readouterr()
    assert (shown.out, "unknown command 'trian'" in shown.err) == ("", True)


def test_a_mesh_that_the_devices_cannot_form_is_refused(capfd):
    words = ["train", "--config=configs/quickstart.py:stage1", "--config.mesh.data=4"]
    words.append("--config.batch_size=4")
    for devices, status in ((1, 2), (2, 0)):
        options = ["--processes=2", f"--devices={devices}", "--dry_run"]
        assert local.main([*options, "--", *words]) == status
    assert "which must be the number of devices, 2; " in capfd.readouterr().err


@pytest.mark.parametrize("name", ["local", "tpu_pod", "gke", "submit"])
def test_the_launchers_run_from_a_checkout_and_as_modules(name):
    for words in ([f"launch/{name}.py"], ["-m", f"launch.{name}"]):
        completed = subprocess.run(
            [sys.executable, *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert completed.stdout.startswith(f"usage: {name}.py")


def run_on_an_ascii_console(*words):
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["local", "tpu_pod", "gke", "submit"])
def test_the_help_of_a_launcher_needs_only_ascii(name):
    done = run_on_an_ascii_console(f"launch/{name}.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--config=FILE.py --config.key=value ..." in " ".join(done.stdout.split())


def test_a_dry_run_escapes_what_an_ascii_console_cannot_show(tmp_path):
    (tmp_path / "café.py").write_text(
        "from teacherlm_jax import config\n"
        "def get_config(variant):\n"
        "    return config.TrainConfig(output='o', data='d')\n"
    )
    words = ["--dry_run", "--", "train", f"--config={tmp_path}/café.py"]
    done = run_on_an_ascii_console("launch/local.py", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"caf\xe9.py" in done.stdout


def test_the_launchers_do_not_import_jax():
    code = (
        "import sys, teacherlm_jax.launching.local, teacherlm_jax.launching.tpu_pod\n"
        "import teacherlm_jax.launching.gke, teacherlm_jax.launching.submit\n"
        "sys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", "--config=nope.py"], "unknown command 'trian'"),
        (["train", "--config=nope.py"], "nope.py: no such config file"),
        (["train", "--config=configs/quickstart.py:stage1", "--config.lr=1"], "config.lr"),
        (["report", "--config.root=runs", "--config.output=r"], "report: runs in one process only"),
    ],
)
def test_a_command_line_is_validated_before_processes_start(tmp_path, words, message, capsys):
    logs = tmp_path / "logs"
    assert local.main(["--processes=2", f"--logs={logs}", "--", *words]) == 2
    assert message in capsys.readouterr().err
    assert not logs.exists()
