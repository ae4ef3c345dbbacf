import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import fake_schedulers

FAKE = Path(__file__).with_name("gcloud.py")

# A fake Python for the hosts. It creates an environment whose pip does nothing and whose
# `teacherlm` records how it was started; with `init_from=wait` it runs until a signal stops it.
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
printf '#!/bin/sh\\n' > "$3/bin/python"
cp teacherlm "$3/bin/teacherlm"
chmod +x "$3/bin/python"
"""
TEACHERLM = """#!{python}
import json, os, signal, sys, time
def save(number, frame):
    open(os.environ["HOME"] + "/saved", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
with open(os.environ["HOME"] + "/runs.jsonl", "a") as runs:
    runs.write(json.dumps([sys.argv[1:], os.environ["TEACHERLM_DISTRIBUTED"], os.getcwd()]) + "\\n")
if "--config.init_from=wait" in sys.argv:
    time.sleep(60)
"""


class Cloud:
    """A fake gcloud on the path, and the calls that it received."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"

    def cue(self, **cues):
        (self.folder / "cues.json").write_text(json.dumps(cues))

    @property
    def calls(self):
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def commands(self):
        """Names of the commands that were called."""
        return [words[3] for words in self.calls]

    @property
    def runs(self):
        """Arguments, mode and folder of each start of `teacherlm` on the hosts."""
        return [json.loads(line) for line in (self.home / "runs.jsonl").read_text().splitlines()]


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    folder = tmp_path / "cloud"
    (folder / "bin").mkdir(parents=True)
    (folder / "home").mkdir()
    for path, text in (
        (folder / "bin" / "gcloud", f"#!{sys.executable}\n{FAKE.read_text()}"),
        (folder / "home" / "python", PYTHON),
        (folder / "home" / "teacherlm", TEACHERLM.format(python=sys.executable)),
    ):
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    monkeypatch.setenv("TEACHERLM_FAKE", str(folder))
    return Cloud(folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A small source tree with one commit."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "requirements.txt").touch()
    (folder / "configs").mkdir()
    (folder / "configs" / "teacher.py").write_text(
        "from teacherlm_jax.config import TrainConfig\n"
        "def get_config(variant):\n"
        "    return TrainConfig(output='runs/x', data='data', batch_size=1536)\n"
    )
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


@pytest.fixture
def schedulers(tmp_path, monkeypatch):
    folder = tmp_path / "fake"
    (folder / "bin").mkdir(parents=True)
    names = ("gcluster", "sky", "sbatch", "srun", "scontrol")
    texts = dict.fromkeys(names, f"#!{sys.executable}\n{fake_schedulers.FAKE.read_text()}")
    for name, text in (
        texts | {"teacherlm": fake_schedulers.PROCESS.format(python=sys.executable)}
    ).items():
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    monkeypatch.setenv("TEACHERLM_FAKE", str(folder))
    monkeypatch.setenv("TEACHERLM", str(folder / "bin" / "teacherlm"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    made = fake_schedulers.Schedulers(folder)
    made.cue()
    return made


@pytest.fixture
def clone(checkout, tmp_path, monkeypatch, schedulers):
    """A clone in which the current folder is, whose .venv has the fake `teacherlm`."""
    folder = shutil.copytree(checkout, tmp_path / "clone")
    shutil.copytree(fake_schedulers.ROOT / "launch", folder / "launch")
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"  # for skypilot_node, whose command is a fake
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"sys.path.insert(0, {str(fake_schedulers.ROOT)!r})\n"
        "from teacherlm_jax.launching import skypilot_node\n"
        f"sys.executable = {str(folder / 'launched')!r}\n"
        "skypilot_node.main()\n"
    )
    launched = folder / "launched"  # gets `-m teacherlm_jax WORDS`
    launched.write_text(f'#!/bin/bash\nshift 2\nexec {schedulers.folder}/bin/teacherlm "$@"\n')
    python.chmod(0o755)
    launched.chmod(0o755)
    monkeypatch.chdir(folder)
    return folder
