"""Shell lines for the hosts of a slice, with every value quoted.

The home folder of a host contains the source tree `teacherlm_jax/` with its virtual environment
`.venv`, and `teacherlm.pid`, the process id of the run. Commands run in the source tree, so it also
has the run folders that they name by relative paths.
"""

import shlex
from collections.abc import Sequence

from teacherlm_jax.runs import distributed
from teacherlm_jax.runs.versions import COMMIT

TREE = "teacherlm_jax"
_PID = "teacherlm.pid"
_FILES = ".files"  # of the installed commit, one per line
_STOP_SECONDS = 600  # time for an earlier run to save a checkpoint

# Succeeds if the process in the file is running and is a teacherlm run: process ids are reused.
_RUNS = f'grep -qs teacherlm "/proc/$(cat {_PID} 2>/dev/null)/cmdline"'


def install(archive: str, commit: str, python: str, before: Sequence[str]) -> str:
    """Return the line that unpacks and installs an archive, unless its commit is installed.

    The files of the commit before are removed, and all others, such as run folders, are kept.

    Args:
        archive: file in the home folder.
        commit: commit of the archive.
        python: Python interpreter of the hosts.
        before: shell lines to run first, such as those that install system packages.
    """
    marker, new = f"{TREE}/.installed", shlex.quote(commit)
    pip = f"{TREE}/.venv/bin/python -m pip --disable-pip-version-check install --quiet"
    steps = [
        *before,
        f"mkdir -p {TREE}",
        f"touch {TREE}/{_FILES}",
        f"(cd {TREE} && xargs -d '\\n' -r rm -f -- < {_FILES} && rm -rf .venv)",
        f"tar -xzf {shlex.quote(archive)} -C {TREE}",
        f"tar -tzf {shlex.quote(archive)} | sed '/\\/$/d' > {TREE}/{_FILES}",
        f"{shlex.quote(python)} -m venv {TREE}/.venv",
        f"{pip} -r {TREE}/requirements-gcs.txt -r {TREE}/requirements-tpu.txt",
        f"{pip} --no-deps {TREE}/",
        f"echo {new} > {marker}",
    ]
    return f'[ "$(cat {marker} 2>/dev/null)" = {new} ] || {{ {" && ".join(steps)}; }}'


def run(words: Sequence[str], commit: str) -> str:
    """Return the line that runs `teacherlm WORDS` on all hosts as one distributed program.

    If an earlier run is still running, for example after a lost connection, it is stopped first
    and saves a checkpoint.
    """
    stop_earlier = (
        f"{stop()}; for second in $(seq {_STOP_SECONDS}); do {_RUNS} || break; sleep 1; done"
    )
    settings = [f"{distributed.MODE}=auto", "PYTHONUNBUFFERED=1", f"{COMMIT}={commit}"]
    command = shlex.join(["env", *settings, ".venv/bin/teacherlm", *words])
    return f"{stop_earlier}; echo $$ > {_PID}; cd {TREE} && exec {command}"


def stop() -> str:
    """Return the line that asks the run to save a checkpoint and exit."""
    return f'if {_RUNS}; then kill -TERM "$(cat {_PID})"; fi'
