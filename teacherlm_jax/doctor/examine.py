"""The command `doctor`: findings about everything that a run needs, and what to do about each."""

import json
import platform
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from teacherlm_jax import __version__
from teacherlm_jax.config import DoctorOptions
from teacherlm_jax.doctor import bucket_access, clocks, devices, host, packages
from teacherlm_jax.doctor.finding import PROBLEM, Finding, summary, text_of
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote

_PATIENCE = 10.0  # seconds for which transient errors of a store are retried

Print = Callable[[str], None]


def examine(options: DoctorOptions, print_out: Print) -> int:
    """Print the findings; return the exit status, which is 1 if one of them is a problem.

    As text, each is printed when it is known.
    """
    findings = []
    if not options.json:
        at = time.strftime("%Y-%m-%d %H:%M:%S %z")
        print_out(f"teacherlm {__version__} on {socket.gethostname()}, {at}\n")
    with objects.patience(_PATIENCE):
        for finding in _findings(options):
            findings.append(finding)
            if not options.json:
                print_out(text_of(finding))
    if options.json:
        print_out(json.dumps(_as_json(findings), indent=2))
    else:
        print_out(f"\n{summary(findings)}")
    return int(any(finding.verdict == PROBLEM for finding in findings))


def _findings(options: DoctorOptions) -> Iterator[Finding]:
    yield packages.python()
    yield from packages.packages()
    yield from devices.examine(options.seconds)
    yield host.memory()
    remote = is_remote(options.folder)
    yield from host.disks(None if remote else Path(options.folder))
    if remote:
        yield from bucket_access.examine(options.folder)
    yield clocks.of_this_machine(options.folder, options.server)
    yield from clocks.of_other_machines(options.folder)


def _as_json(findings: list[Finding]) -> dict[str, object]:
    return {
        "teacherlm": __version__,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "time": time.time(),
        "summary": summary(findings),
        "findings": [vars(finding) for finding in findings],
    }
