"""Run one teacherlm command on every host of a v5e or v6e slice; restart it after preemptions.

This uses queued resources of the Cloud TPU API, which Google has frozen: it gets security fixes
only and does not serve TPU7x. With a GKE cluster, use launch/gke.py instead. See
docs/how-to/several-processes.md.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import accelerators, command_check, command_line, hosts
from teacherlm_jax.launching.gcloud import QueuedSlice
from teacherlm_jax.launching.lifecycle import Lifecycle
from teacherlm_jax.launching.shell import DryShell, Shell
from teacherlm_jax.runs import distributed

_ACTIONS = ("run", "delete")
# Options by the heading of their group: settings for argparse by name.
_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "slice": {
        "action": {
            "choices": _ACTIONS,
            "help": "run: request the slice, install the commit on its hosts, run the command, and "
            "restart it after preemptions; delete: delete the slice",
        },
        "--name": {"required": True, "help": "name of the slice and its queued resource"},
        "--zone": {"required": True, "help": "zone of the slice, such as us-west4-a"},
        "--project": {"default": "", "help": "Google Cloud project (default: that of gcloud)"},
        "--accelerator_type": {
            "default": "",
            "help": "version and size, such as v5litepod-64; required for run",
        },
        "--runtime_version": {
            "default": "",
            "help": "image of the hosts, such as v2-alpha-tpuv5-lite; required for run",
        },
        "--spot": {"action": "store_true", "help": "create a slice that may be preempted"},
        "--create_flag": {
            "action": "append",
            "default": [],
            "help": "another flag for gcloud's create command; may be repeated",
        },
    },
    "hosts": {
        "--internal_ip": {
            "action": "store_true",
            "help": "connect to the internal addresses of the hosts",
        },
        "--source": {
            "type": Path,
            "default": Path(),
            "help": "checkout whose commit is installed (default: the current folder)",
        },
        "--python": {
            "default": "python3.11",
            "help": "Python interpreter of the hosts (default: python3.11)",
        },
        "--before": {
            "action": "append",
            "default": [],
            "help": "shell line that the hosts run before the installation; may be repeated",
        },
    },
    "run": {
        "--poll": {
            "type": float,
            "default": 30.0,
            "help": "seconds between queries of the slice's state (default: 30)",
        },
        "--restarts": {
            "type": int,
            "default": 20,
            "help": "maximum number of restarts (default: 20)",
        },
        "--tear_down": {
            "action": "store_true",
            "help": "delete the slice after a successful run",
        },
        "--dry_run": {
            "action": "store_true",
            "help": "check and print the commands, run nothing",
        },
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit status, which is that of the verb for `run`."""
    parser = command_line.parser("tpu_pod.py", __doc__ or "", _OPTIONS)
    options, words = command_line.split(parser, arguments)
    shell = DryShell() if options.dry_run else Shell()
    try:
        return command_line.status_of(lambda: _do(options, words, shell))
    except KeyboardInterrupt:
        print(
            f"launch: interrupted; the slice {options.name} exists until you run `delete`",
            file=sys.stderr,
        )
        return 130


def _refuse_incomplete(options: argparse.Namespace, words: Sequence[str]) -> None:
    """Raise UserError unless the options and the verb after `--` are those of the action."""
    running = options.action == "run"
    if bool(words) != running:
        raise UserError(
            f"{options.action}: expected a command after -- for `run`, and none for `delete`, as "
            "in run … -- train --config=FILE.py"
        )
    if running and not (options.accelerator_type and options.runtime_version):
        raise UserError(
            "--accelerator_type and --runtime_version are required, as in "
            "--accelerator_type=v5litepod-64 --runtime_version=v2-alpha-tpuv5-lite"
        )
    if options.accelerator_type:
        accelerators.require_known(options.accelerator_type)


def _do(options: argparse.Namespace, words: list[str], shell: Shell) -> int:
    _refuse_incomplete(options, words)
    pod = QueuedSlice(
        name=options.name,
        zone=options.zone,
        project=options.project,
        accelerator_type=options.accelerator_type,
        runtime_version=options.runtime_version,
        create_flags=(*(["--spot"] if options.spot else []), *options.create_flag),
        internal_ip=options.internal_ip,
    )
    lifecycle = Lifecycle(pod, shell, poll=options.poll, restarts=options.restarts)
    if options.action == "delete":
        lifecycle.delete()
        return 0
    commit = _commit(options.source)
    _require_committed(options.source, words)
    devices = accelerators.chips_of(options.accelerator_type)
    command_check.require_valid(words, {distributed.MODE: "auto"}, options.source, devices)
    archive = _archive(options.source, commit, shell)
    installing = hosts.install(Path(archive).name, commit, options.python, options.before)
    running = hosts.run(words, commit)
    status = lifecycle.follow([pod.copy(archive), pod.on_all(installing), pod.on_all(running)])
    if options.tear_down and status == 0:
        lifecycle.delete()
    return status


def _git(source: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git in the checkout; UserError if git is not installed."""
    command = ["git", "-C", str(source), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(
            "git: command not found; install git, which sends the commit of --source to the hosts"
        ) from None


def _commit(source: Path) -> str:
    """Return the commit that is checked out; raise UserError if files differ from it."""
    commit = _git(source, "rev-parse", "HEAD")
    changed = _git(source, "status", "--porcelain", "--untracked-files=no")
    if commit.returncode:
        raise UserError(f"{source}: {commit.stderr.strip()}; set --source to a git checkout")
    if changed.stdout:
        raise UserError(
            f"{source}: has uncommitted changes, but only commits are sent to the hosts:\n"
            f"{changed.stdout}commit or stash them"
        )
    return commit.stdout.strip()


def _require_committed(source: Path, words: Sequence[str]) -> None:
    """Raise UserError if a config file of the checkout is not part of a commit."""
    path = command_check.config_file(words)
    if path is None or not (source / path).exists() or Path(path).is_absolute():
        return
    if _git(source, "ls-files", "--error-unmatch", path).returncode:
        raise UserError(
            f"{path}: not part of the commit, and only commits are sent to the hosts; commit it"
        )


def _archive(source: Path, commit: str, shell: Shell) -> str:
    """Return the path of a new archive of the commit's files."""
    file = str(Path(tempfile.gettempdir()) / f"teacherlm_jax-{commit[:12]}.tar.gz")
    words = ["git", "-C", str(source), "archive", "--format=tar.gz", f"--output={file}", commit]
    if shell.call(words):
        raise UserError(
            f"{source}: cannot create an archive: {shlex.join(words)} failed (git's message is "
            "above); set TMPDIR to a folder that has free space"
        )
    return file


if __name__ == "__main__":
    sys.exit(main())
