"""Detection of a process that was started alone on one of several hosts.

A cluster tells each process how many there are: through its environment or, on Cloud TPU VMs,
through the metadata server. A process that ignores this would write into the run folder of the
others.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

# Lists of the hosts of a TPU slice, as GKE sets them; see jax._src.clusters.cloud_tpu_cluster.
_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
# Numbers of slices, nodes or processes. Slurm's are in the order of trust: that of the step first.
_SLICES = "MEGASCALE_NUM_SLICES"
_SLURM = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_JOB_NUM_NODES")
_OTHERS = ("SKYPILOT_NUM_NODES", "OMPI_COMM_WORLD_SIZE")
_POD = "JOB_COMPLETION_INDEX"  # of an indexed job of Kubernetes, which does not state the number

_TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")
_ENDPOINTS = "computeMetadata/v1/instance/attributes/worker-network-endpoints"
_SERVER_SECONDS = 2


def of_slice(environment: Mapping[str, str]) -> str:
    """Return the sign that this host is one of several of a TPU job; "" if there is none."""
    for name in _HOSTS:
        hosts = [host for host in environment.get(name, "").split(",") if host.strip()]
        if len(hosts) > 1:
            return f"{name}={environment[name]!r} lists {len(hosts)} hosts"
    if _number(environment, _SLICES) > 1:
        return f"{_SLICES}={environment[_SLICES]}"
    known = any(name in environment for name in (*_HOSTS, "TPU_SKIP_MDS_QUERY"))
    hosts = [] if known else _hosts_of_metadata(environment)
    if len(hosts) > 1:
        return f"the metadata server's worker-network-endpoints lists {len(hosts)} hosts"
    return ""


def of_cluster(environment: Mapping[str, str]) -> str:
    """Return the sign that this is one of several processes of a job; "" if there is none."""
    return next(_signs_of_cluster(environment), "")


def _signs_of_cluster(environment: Mapping[str, str]) -> Iterator[str]:
    step = _SLURM[0] in environment
    for name in (*(_SLURM[:1] if step else _SLURM), *_OTHERS):
        if _number(environment, name) > 1:
            yield f"{name}={environment[name]}"
    if _number(environment, _POD) > 0:
        yield f"{_POD}={environment[_POD]}"


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "").strip()
    return int(value) if value.isdecimal() else 0


def _hosts_of_metadata(environment: Mapping[str, str]) -> list[str]:
    """Return the hosts of the slice as Cloud TPU's metadata server lists them.

    It is asked only on a machine that has TPUs, and only Cloud TPU VMs have this attribute.
    """
    if not any(Path(device).exists() for device in _TPU_DEVICES):
        return []
    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{server}/{_ENDPOINTS}", headers={"Metadata-Flavor": "Google"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=_SERVER_SECONDS) as answer:
            return [host for host in answer.read().decode().split(",") if host.strip()]
    except (urllib.error.URLError, OSError):  # not a Cloud TPU VM
        return []
