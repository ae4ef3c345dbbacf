"""What the hosts of a slice are told to do: lines for their shells, every value quoted.

In a host's home folder lie the source tree `teacherlm_jax/` with its environment `.venv`, and
`teacherlm.pid`, the number of the process that runs.
"""

import shlex
from collections.abc import Sequence

from teacherlm_jax.runs import distributed
from teacherlm_jax.runs.versions import COMMIT

TREE = "teacherlm_jax"
_PID = "teacherlm.pid"
_STOP_SECONDS = 600  # that an earlier run gets to save itself

# Whether the process that the file names runs and is ours; numbers are used again after a restart.
_RUNS = f'grep -qs teacherlm "/proc/$(cat {_PID} 2>/dev/null)/cmdline"'


def install(archive: str, commit: str, python: str, before: Sequence[str]) -> str:
    """Unpacks the archive in the home folder and installs it, unless this commit is there.

    `before` are shell lines for what the machines lack.
    """
    mark, new = f"{TREE}/.installed", shlex.quote(commit)
    pip = f"{TREE}/.venv/bin/python -m pip --disable-pip-version-check install --quiet"
    steps = [
        *before,
        f"rm -rf {TREE}",
        f"mkdir {TREE}",
        f"tar -xzf {shlex.quote(archive)} -C {TREE}",
        f"{shlex.quote(python)} -m venv {TREE}/.venv",
        f"{pip} -r {TREE}/requirements.txt -r {TREE}/requirements-tpu.txt",
        f"{pip} --no-deps {TREE}/",
        f"echo {new} > {mark}",
    ]
    return f'[ "$(cat {mark} 2>/dev/null)" = {new} ] || {{ {" && ".join(steps)}; }}'


def run(words: Sequence[str], commit: str) -> str:
    """Runs `teacherlm WORDS` in the tree, as one process of all hosts'.

    A run that a lost connection left behind is told to save and leave first.
    """
    leave = f"{stop()}; for second in $(seq {_STOP_SECONDS}); do {_RUNS} || break; sleep 1; done"
    settings = [f"{distributed.MODE}=auto", "PYTHONUNBUFFERED=1", f"{COMMIT}={commit}"]
    command = shlex.join(["env", *settings, ".venv/bin/teacherlm", *words])
    return f"{leave}; echo $$ > {_PID}; cd {TREE} && exec {command}"


def stop() -> str:
    """Asks what runs to save and leave."""
    return f'if {_RUNS}; then kill -TERM "$(cat {_PID})"; fi'
