"""Check one teacherlm command and submit it as a job to Slurm or SkyPilot.

The job is described by launch/slurm.sbatch or launch/skypilot.yaml; see docs/how-to/launch.md.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import (
    command_check,
    command_line,
    handover,
    requested_gpus,
    skypilot_node,
)
from teacherlm_jax.runs import distributed

_FILES = {"slurm": Path("launch/slurm.sbatch"), "skypilot": Path("launch/skypilot.yaml")}
_INSTALL = {
    "slurm": "run this on a login node of a Slurm cluster, which has sbatch",
    "skypilot": "install SkyPilot for your cloud, as in `pip install skypilot[gcp]`",
}
_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "job": {
        "scheduler": {"choices": tuple(_FILES), "help": "where to submit the job"},
        "--file": {
            "type": Path,
            "help": "description of the job (default: launch/slurm.sbatch or launch/skypilot.yaml)",
        },
        "--nodes": {
            "type": command_line.positive,
            "help": "number of nodes (default: that in the file)",
        },
        "--secret": {
            "action": "append",
            "default": [],
            "help": "variable that the command needs, such as HF_TOKEN, with its value from here; "
            "may be repeated. Slurm passes all variables on by itself",
        },
        "--submit_flag": {
            "action": "append",
            "default": [],
            "help": "another flag for `sbatch` or `sky jobs launch`, such as --partition=gpu or "
            "--gpus=A100:8; may be repeated",
        },
    },
    "check": {
        "--dry_run": {"action": "store_true", "help": "check and print the command, run nothing"},
    },
}


def sbatch(options: argparse.Namespace, words: Sequence[str]) -> list[str]:
    """Return the command that submits a job to Slurm; the script gets the words as they are."""
    return ["sbatch", *_flags(options), str(options.file), *words]


def _flags(options: argparse.Namespace) -> list[str]:
    """Return the flags that override the description of the job."""
    name = "--nodes" if options.scheduler == "slurm" else "--num-nodes"
    return [*([f"{name}={options.nodes}"] if options.nodes else []), *options.submit_flag]


def sky(options: argparse.Namespace, words: Sequence[str]) -> list[str]:
    """Return the command that submits a managed job to SkyPilot.

    The values of secrets are not part of it: SkyPilot reads them from this environment.
    """
    return [
        *("sky", "jobs", "launch", "--yes", "--detach-run"),
        *_flags(options),
        *(f"--secret={name}" for name in options.secret),
        f"--env={skypilot_node.COMMAND}={shlex.join(words)}",
        str(options.file),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the scheduler's exit status, or 2 if something is invalid."""
    parser = command_line.parser("submit.py", __doc__ or "", _OPTIONS)
    options, words = command_line.with_command(parser, arguments)
    options.file = options.file or _FILES[options.scheduler]
    return command_line.status_of(lambda: _submit(options, words))


def _submit(options: argparse.Namespace, words: Sequence[str]) -> int:
    if not options.file.is_file():
        raise UserError(
            f"{options.file}: no such file; run this in a clone of the repository, or set --file"
        )
    for name in options.secret:
        if "=" in name or name not in os.environ:
            raise UserError(
                f"--secret={name.partition('=')[0]}: expected the name of a variable that is set "
                "here; set it with `export`, so that its value is not part of the command"
            )
    is_slurm = options.scheduler == "slurm"
    count = requested_gpus.of_slurm if is_slurm else requested_gpus.of_skypilot
    devices = count(options.file, _flags(options))
    # Both start several processes, which only some verbs support.
    command_check.require_valid(words, {distributed.MODE: "auto"}, Path(), devices)
    build = sbatch if is_slurm else sky
    return handover.hand_over(
        build(options, words), _INSTALL[options.scheduler], dry=options.dry_run
    )


if __name__ == "__main__":
    sys.exit(main())
