"""The fakes of schedulers.py on the path, and commands that are handed over to them."""

import json
from pathlib import Path

import teacherlm_jax
from teacherlm_jax.launching import gke, submit
from teacherlm_jax.runs import masking

ROOT = Path(teacherlm_jax.__file__).parents[1]
FAKE = Path(__file__).with_name("schedulers.py")
HOSTILE = (
    "--config.output=gs://b/two  spaces, 'single', \"double\", "
    "$HOME $$ $(id) `id`; echo no && * | >"
)
TRAIN = ["train", "--config=configs/teacher.py:560m,stage1", HOSTILE]
SECRET = "hf_abcdefgh12345678"
MASKED = f"HF_TOKEN={masking.MASK}"
PROCESS = """#!{python}
import json, os, signal, sys
names = ["JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "HF_TOKEN",
         "TEACHERLM_DISTRIBUTED"]
names = [name for name in names if name in os.environ]
if "--validate" in sys.argv:
    sys.exit("no such key" in sys.argv and 2)
folder = os.environ["TEACHERLM_FAKE"]
with open(folder + "/runs.jsonl", "a") as runs:
    runs.write(json.dumps([sys.argv[1:], {{name: os.environ[name] for name in names}}]) + "\\n")
statuses = json.load(open(folder + "/statuses.json"))
status = statuses.pop(0) if statuses else 0
json.dump(statuses, open(folder + "/statuses.json", "w"))
if status == 137:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(status)
"""


class Schedulers:
    """The fakes on the path, their calls, and the runs of `teacherlm` that they started."""

    def __init__(self, folder):
        self.folder = folder

    def cue(self, *statuses, **cues):
        """Set the exit statuses of the runs, and those of the programs by name."""
        (self.folder / "statuses.json").write_text(json.dumps(statuses))
        (self.folder / "cues.json").write_text(json.dumps(cues))

    def _lines(self, name):
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def calls(self):
        return self._lines("calls.jsonl")

    @property
    def programs(self):
        return [words[0] for words in self.calls]

    @property
    def runs(self):
        return self._lines("runs.jsonl")

    @property
    def status(self):
        """Exit status of the job."""
        return int((self.folder / "status").read_text())


GKE = ("--name=mine", "--slice=v5e:4x4", "--image=us-docker.pkg.dev/p/r/i:1", "--bucket=gs://b")


def launch(scheduler, *options, words=TRAIN):
    if scheduler == "gke":
        return gke.main([*GKE, *options, "--", *words])
    return submit.main([scheduler, *options, "--", *words])
