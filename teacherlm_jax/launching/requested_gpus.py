"""The GPUs that a job for Slurm or SkyPilot asks for, from its description and the flags."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

_SLURM_GPUS = "--gpus-per-node"
# With one of these, the number of nodes or of GPUs is not known here.
_SLURM_OTHER = ("-N", "-G", "--gpus", "--gres", "--array")


def of_slurm(script: Path, flags: Sequence[str]) -> int:
    """Return the number of GPUs of a job; 0: unknown.

    Args:
        script: batch script with lines of `#SBATCH`.
        flags: flags of `sbatch`, which override those lines.
    """
    text = script.read_text(encoding="utf-8", errors="replace")
    lines = re.findall(r"^#SBATCH\s+(.*?)\s*$", text, re.MULTILINE)
    given = _named([*lines, *flags])
    if any(name.startswith(_SLURM_OTHER) and name != _SLURM_GPUS for name, _ in given):
        return 0
    nodes = _last(given, "--nodes", "1")
    per_node = _last(given, _SLURM_GPUS, "").rpartition(":")[2]  # of h100:8
    return _product(nodes, per_node)


def of_skypilot(description: Path, flags: Sequence[str]) -> int:
    """Return the number of GPUs of a job; 0: unknown, or the nodes have TPUs.

    Args:
        description: YAML file of the job.
        flags: flags of `sky jobs launch`, which override it.
    """
    try:
        job = yaml.safe_load(description.read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError:
        return 0  # SkyPilot says what is wrong with it
    job = job if isinstance(job, dict) else {}
    resources = job.get("resources")
    wanted = resources.get("accelerators", "") if isinstance(resources, dict) else ""
    given = _named(flags)
    nodes = _last(given, "--num-nodes", str(job.get("num_nodes", 1)))
    accelerators = _last(given, "--gpus", wanted if isinstance(wanted, str) else "")
    name, _, per_node = accelerators.partition(":")
    if not name or name.lower().startswith("tpu"):
        return 0
    return _product(nodes, per_node or "1")


def _named(flags: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and the value of each flag."""
    pairs = (re.split(r"[=\s]+", flag, maxsplit=1) for flag in flags)
    return [(name, rest[0] if rest else "") for name, *rest in pairs]


def _last(given: Sequence[tuple[str, str]], wanted: str, default: str) -> str:
    """Return the value of the last flag of this name."""
    return next((value for name, value in reversed(given) if name == wanted), default)


def _product(nodes: str, per_node: str) -> int:
    return int(nodes) * int(per_node) if nodes.isdigit() and per_node.isdigit() else 0
