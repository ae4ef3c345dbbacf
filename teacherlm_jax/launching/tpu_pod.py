"""Run one verb on every host of a Cloud TPU slice, again after each preemption.

See docs/how-to/several-processes.md.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import accelerators, command_check, hosts
from teacherlm_jax.launching.gcloud import QueuedSlice
from teacherlm_jax.launching.lifecycle import Lifecycle
from teacherlm_jax.launching.shell import DryShell, Shell
from teacherlm_jax.runs import distributed


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; returns the exit status, that of the verb for `run`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    where = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:where])
    shell = DryShell() if options.dry_run else Shell()
    try:
        return _do(options, arguments[where + 1 :], shell)
    except UserError as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"launch: interrupted; {options.name} stays until `delete`", file=sys.stderr)
        return 130


def _do(options: argparse.Namespace, words: list[str], shell: Shell) -> int:
    if bool(words) != (options.action == "run"):
        raise UserError("a verb belongs to `run`, behind --, as in run … -- train --config=FILE.py")
    kind = options.accelerator_type and options.runtime_version
    if options.action in ("create", "run") and not kind:
        raise UserError(
            "--accelerator_type and --runtime_version are missing; give both, as in "
            "--accelerator_type=v5litepod-64 --runtime_version=v2-alpha-tpuv5-lite"
        )
    if options.accelerator_type:
        accelerators.require_known(options.accelerator_type)
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
    if options.action == "create":
        lifecycle.make_ready()
        return 0
    commit = _commit(options.source)
    if words:
        _require_committed(options.source, words)
        command_check.require_valid(words, {distributed.MODE: "auto"}, options.source)
    archive = _archive(options.source, commit, shell)
    installing = hosts.install(Path(archive).name, commit, options.python, options.before)
    steps = [pod.copy(archive), pod.on_all(installing)]
    if options.action == "install":
        return lifecycle.once(steps)
    status = lifecycle.follow([*steps, pod.on_all(hosts.run(words, commit))])
    if options.tear_down and status == 0:
        lifecycle.delete()
    return status


def _commit(source: Path) -> str:
    """The commit that is checked out; UserError where files differ from it."""
    git = ["git", "-C", str(source)]
    commit, changed = (
        subprocess.run([*git, *words], capture_output=True, text=True, check=False)
        for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    )
    if commit.returncode:
        raise UserError(f"{source}: {commit.stderr.strip()}; name a checkout as --source")
    if changed.stdout:
        raise UserError(
            f"{source}: has changes that no commit holds, and only commits are sent:\n"
            f"{changed.stdout}commit them, or set them aside"
        )
    return commit.stdout.strip()


def _require_committed(source: Path, words: Sequence[str]) -> None:
    """Raise UserError if a config file of the checkout is not part of a commit."""
    path = command_check.config_file(words)
    if path is None or not (source / path).exists() or Path(path).is_absolute():
        return
    git = ["git", "-C", str(source), "ls-files", "--error-unmatch", path]
    if subprocess.run(git, capture_output=True, check=False).returncode:
        raise UserError(
            f"{path}: not part of the commit, and only commits are sent to the hosts; commit it"
        )


def _archive(source: Path, commit: str, shell: Shell) -> str:
    """The commit's files, packed."""
    file = str(Path(tempfile.gettempdir()) / f"teacherlm_jax-{commit[:12]}.tar.gz")
    words = ["git", "-C", str(source), "archive", "--format=tar.gz", f"--output={file}", commit]
    if shell.call(words):
        raise UserError(f"{source}: cannot be packed: {shlex.join(words)} failed")
    return file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tpu_pod.py",
        usage="%(prog)s ACTION --name=… --zone=… [options] [-- VERB --config=FILE.py …]",
        description="Runs one verb on every host of a Cloud TPU slice.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "action",
        choices=("create", "install", "run", "delete"),
        help="run does all: asks for the slice, installs, runs, and starts anew when it is lost",
    )
    add("--name", required=True, help="of the slice and its queued resource")
    add("--zone", required=True)
    add("--project", default="", help="(gcloud's own)")
    add("--accelerator_type", default="", help="as in v5litepod-64")
    add("--runtime_version", default="", help="as in v2-alpha-tpuv5-lite")
    add("--spot", action="store_true", help="a slice that may be preempted")
    add("--create_flag", action="append", default=[], help="one more of gcloud's create; repeat")
    add("--internal_ip", action="store_true", help="reach the hosts inside the network")
    add("--source", type=Path, default=Path(), help="checkout whose commit is installed (this)")
    add("--python", default="python3.11", help="on the hosts (python3.11)")
    add("--before", action="append", default=[], help="shell line for the hosts first; repeat")
    add("--poll", type=float, default=30.0, help="seconds between two looks (30)")
    add("--restarts", type=int, default=20, help="at most (20)")
    add("--tear_down", action="store_true", help="delete the slice once the run is finished")
    add("--dry_run", action="store_true", help="show the commands and run none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
