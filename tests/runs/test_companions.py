import http.server
import re
import subprocess
import sys
import threading

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.verbs import VERBS
from teacherlm_jax.runs import companions, distributed

CLUSTER = ("SLURM", "SKYPILOT", "OMPI", "TPU", "MEGASCALE", "JOB_COMPLETION", "JAX_", "TEACHERLM")
# Environments of one of several processes, and the sign that the message names.
SLICES = [
    (
        {"TPU_WORKER_HOSTNAMES": "t-0.x,t-1.x", "TPU_WORKER_ID": "1"},
        "TPU_WORKER_HOSTNAMES='t-0.x,t-1.x' lists 2 hosts",
    ),
    ({"TPU_PROCESS_ADDRESSES": "a:1,b:1,c:1"}, "TPU_PROCESS_ADDRESSES='a:1,b:1,c:1' lists 3 hosts"),
    ({"TPU_WORKER_HOSTNAMES": "localhost", "MEGASCALE_NUM_SLICES": "2"}, "MEGASCALE_NUM_SLICES=2"),
]
NODES = [
    ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}, "SLURM_STEP_NUM_TASKS=8"),
    ({"SLURM_NTASKS": "4", "SLURM_PROCID": "3"}, "SLURM_NTASKS=4"),
    ({"SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "2"}, "SLURM_JOB_NUM_NODES=2"),
    ({"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "0"}, "SKYPILOT_NUM_NODES=2"),
    ({"OMPI_COMM_WORLD_SIZE": "16"}, "OMPI_COMM_WORLD_SIZE=16"),
    ({"JOB_COMPLETION_INDEX": "1"}, "JOB_COMPLETION_INDEX=1"),
]
SINGLE = [
    {},
    {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0", "MEGASCALE_NUM_SLICES": "1"},
    {"TPU_WORKER_HOSTNAMES": ""},
    {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8", "SLURM_JOB_NUM_NODES": "4"},  # `srun -n 1`
    {"SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"},
    {"SKYPILOT_NUM_NODES": "1"},
    {"JOB_COMPLETION_INDEX": "0"},
]


@pytest.fixture
def environment(monkeypatch):
    """Function that sets variables, in an environment that has none of a cluster."""
    for name in list(distributed.os.environ):
        if name.startswith(CLUSTER):
            monkeypatch.delenv(name)
    monkeypatch.setattr(companions, "_TPU_DEVICES", ())

    def put(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def start(name):
    distributed.start(name, VERBS[name].together, VERBS[name].shared)


@pytest.mark.parametrize(("variables", "sign"), [*SLICES, *NODES])
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_process_that_was_started_alone_names_the_sign_and_a_way_out(
    environment, verb, variables, sign
):
    environment(variables)
    with pytest.raises(UserError) as refusal:
        start(verb)
    message = str(refusal.value)
    assert message.startswith(f"{verb}: {sign}, so this is one of several processes")
    way_out = dict([re.search(r"set (TEACHERLM_DISTRIBUTED)=(\w+) if", message).groups()])
    environment(way_out)
    start(verb)


@pytest.mark.parametrize("variables", SINGLE)
def test_a_process_that_has_no_companions_starts(environment, variables):
    environment(variables)
    start("train")
    assert distributed.process_count() == 1


@pytest.mark.parametrize(("variables", "sign"), NODES)
def test_a_verb_whose_processes_share_a_folder_runs_by_itself_on_each_node(
    environment, variables, sign
):
    environment(variables)
    start("annotate")


@pytest.mark.parametrize(("variables", "sign"), SLICES)
def test_a_host_of_a_slice_does_not_annotate_by_itself(environment, variables, sign):
    environment(variables)
    with pytest.raises(UserError, match=f"annotate: {re.escape(sign)}"):
        start("annotate")


@pytest.mark.parametrize("verb", ["prepare", "report", "plan", "convert"])
def test_a_verb_of_one_process_runs_on_one_host_of_several(environment, verb):
    environment({"TPU_WORKER_HOSTNAMES": "a,b", "SLURM_NTASKS": "8"})
    start(verb)


def test_the_command_refuses_before_it_touches_the_run_folder(tmp_path, environment):
    config = tmp_path / "mine.py"
    config.write_text(
        "from teacherlm_jax.config import TrainConfig\n"
        f"def get_config(variant): return TrainConfig(output={str(tmp_path / 'run')!r}, data='d')\n"
    )
    environment({"TPU_WORKER_HOSTNAMES": "a,b"})
    command = [sys.executable, "-m", "teacherlm_jax", "train", f"--config={config}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "TPU_WORKER_HOSTNAMES='a,b' lists 2 hosts" in done.stderr) == (2, True)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def metadata(environment, tmp_path, monkeypatch):
    """Function that starts a metadata server with an answer, on a machine that has a TPU."""
    servers = []

    def serve(endpoints):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                known = self.path == f"/{companions._ENDPOINTS}" and endpoints is not None
                self.send_response(200 if known and self.headers["Metadata-Flavor"] else 404)
                self.end_headers()
                self.wfile.write((endpoints or "").encode())

            def log_message(self, *arguments):
                pass

        servers.append(http.server.HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        device = tmp_path / "accel0"
        device.touch()
        monkeypatch.setattr(companions, "_TPU_DEVICES", (str(device),))
        environment({"GCE_METADATA_IP": f"127.0.0.1:{servers[-1].server_port}"})

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("hosts", ["t-w-0,t-w-1", "x:0:10.0.0.1,x:1:10.0.0.2"])
def test_a_host_of_a_tpu_vm_slice_is_noticed_by_its_metadata(metadata, hosts):
    metadata(hosts)
    with pytest.raises(UserError, match="worker-network-endpoints lists 2 hosts, so this is one"):
        start("train")


@pytest.mark.parametrize("hosts", ["t-w-0", None])
def test_a_tpu_vm_with_one_host_starts(metadata, hosts):
    metadata(hosts)
    start("train")


def test_a_machine_without_a_metadata_server_starts(metadata, environment):
    metadata("a,b")
    environment({"GCE_METADATA_IP": "127.0.0.1:9"})
    start("train")


def test_the_metadata_server_is_not_asked_where_the_environment_tells(metadata, environment):
    metadata("a,b")
    environment({"TPU_WORKER_HOSTNAMES": "localhost"})
    start("train")


def test_the_metadata_server_is_not_asked_on_a_machine_without_a_tpu(metadata, monkeypatch):
    metadata("a,b")
    monkeypatch.setattr(companions, "_TPU_DEVICES", ("/nowhere",))
    start("train")
