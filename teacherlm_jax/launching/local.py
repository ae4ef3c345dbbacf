"""Run one command in several CPU processes on this machine, as on the hosts of a TPU pod.

See docs/how-to/several-processes.md.
"""

import argparse
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from teacherlm_jax.launching import command_check, command_line, processes
from teacherlm_jax.runs import distributed, masking
from teacherlm_jax.runs.console import say

_DEVICES = "--xla_force_host_platform_device_count"
_HERE = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the processes of a command line; return their exit status."""
    options, words = command_line.with_command(_parser(), arguments)
    return command_line.status_of(lambda: _start(options, words))


def _start(options: argparse.Namespace, words: Sequence[str]) -> int:
    environments = environments_of(options.processes, options.devices, os.environ)
    command_check.require_valid(words, environments[0], Path(), options.processes * options.devices)
    command = [sys.executable, "-m", "teacherlm_jax", *words]
    if options.dry_run:
        _show(command, environments)
        return 0
    logs = options.logs or Path("runs/logs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    return processes.run(processes.Job(command, environments, logs, options.grace))


def environments_of(
    count: int, devices: int, environment: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return the environments of `count` processes with `devices` simulated devices each."""
    flags = re.sub(rf"{_DEVICES}=\d+", "", environment.get("XLA_FLAGS", ""))
    common = {
        **environment,
        "JAX_PLATFORMS": "cpu",
        "PYTHONUNBUFFERED": "1",
        "XLA_FLAGS": f"{flags} {_DEVICES}={devices}".strip(),
    }
    if count == 1:
        return [common]
    address = f"{_HERE}:{_free_port()}"
    common |= {
        distributed.ADDRESS: address,
        distributed.COUNT: str(count),
        "JAX_COORDINATOR_BIND_ADDRESS": address,  # JAX listens on all interfaces by default
    }
    return [{**common, distributed.INDEX: str(index)} for index in range(count)]


def _show(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
    """Print the command of each process, with the variables that the launcher sets for it."""
    for environment in environments:
        settings = [
            f"{name}={value}"
            for name, value in environment.items()
            if os.environ.get(name) != value
        ]
        say(shlex.join(masking.masked(["env", *settings, *command], environment)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HERE, 0))
        return probe.getsockname()[1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local.py",
        usage="%(prog)s --processes=2 --devices=4 "
        "-- COMMAND --config=FILE.py --config.key=value ...",
        description="Run one command in several CPU processes on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--processes",
        type=command_line.positive,
        default=2,
        help="number of processes (default: 2)",
    )
    parser.add_argument(
        "--devices",
        type=command_line.positive,
        default=1,
        help="simulated devices per process (default: 1)",
    )
    parser.add_argument(
        "--logs", type=Path, help="folder for process-N.txt (default: a new folder in runs/logs)"
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=10.0,
        help="seconds for the other processes to exit after one has failed (default: 10)",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="check and print the commands, run nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
