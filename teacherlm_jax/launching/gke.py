"""Submit one teacherlm command as a job on the TPUs of a GKE cluster, and let GKE restart it.

It is handed to `gcluster job submit` of Google's Cluster Toolkit; see docs/how-to/launch.md.
"""

import argparse
import dataclasses
import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import command_check, command_line, handover
from teacherlm_jax.planning import chips
from teacherlm_jax.runs import distributed, masking

# The first word of gcluster's compute types, by chip. The number after it is that of chips.
_TYPES = {"v5e": "v5litepod", "v5p": "v5p", "v6e": "v6e"}
_TPU7X = re.compile(r"tpu7x:([1-9]\d*x[1-9]\d*x[1-9]\d*)")  # `plan` has no compiler for it
_DEVICES_OF_CHIP = {"tpu7x": 2}  # of the other chips: 1
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,26}[a-z0-9])?")  # gcluster accepts at most 28 characters
_INSTALL = (
    "install Cluster Toolkit, which contains gcluster, version 1.95 or later, from "
    "https://github.com/GoogleCloudPlatform/cluster-toolkit"
)


@dataclasses.dataclass(frozen=True)
class GkeJob:
    """One command on one or more TPU slices.

    The flags are those of `gcluster job submit` in Cluster Toolkit v1.95.0 (cmd/job/submit.go).

    Attributes:
        name: name of the job.
        slice: chip and shape, such as v5e:4x4.
        image: container image that has `teacherlm` on its path and the config files.
        bucket: address of the bucket or a folder in it, where the command writes.
        command: the command line, starting with the verb.
        cluster: name of the cluster; empty: gcluster's default, as for the next two.
        location: region or zone of the cluster.
        project: Google Cloud project.
        slices: number of slices.
        restarts: maximum number of restarts.
        grace: seconds between SIGTERM and SIGKILL, in which a checkpoint is saved.
        environment: variables of the command. Everyone who may read the job can read them.
        flags: more flags of `gcluster job submit`, such as --queue=NAME.
    """

    name: str
    slice: str
    image: str
    bucket: str
    command: Sequence[str]
    cluster: str = ""
    location: str = ""
    project: str = ""
    slices: int = 1
    restarts: int = 20
    grace: int = 120
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise UserError for a value that gcluster or GKE would refuse, or lose the run with."""
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"--name={self.name}: expected at most 28 lower-case letters, digits and hyphens, "
                "starting with a letter, as in --name=teacher-7b1"
            )
        compute_type(self.slice)
        if not re.fullmatch(r"gs://[^/\s]+(/\S*)?", self.bucket):
            raise UserError(f"--bucket={self.bucket}: expected a bucket, as in gs://my-bucket")
        inside = re.compile(rf"{re.escape(self.bucket.rstrip('/'))}(?![^/,\s])")
        if not any(inside.search(word) for word in self.command):
            raise UserError(
                f"--bucket={self.bucket}: the command does not name it, and files elsewhere are "
                f"lost with the pods; add --config.output={self.bucket.rstrip('/')}/runs/"
                f"{self.name}, or set root= in the variant"
            )

    @property
    def devices(self) -> int:
        """Number of JAX devices of all slices."""
        kind, topology = compute_type(self.slice)
        chips_of_one = math.prod(map(int, topology.split("x")))
        return chips_of_one * self.slices * _DEVICES_OF_CHIP.get(kind, 1)

    def submit(self) -> list[str]:
        """Return the command that submits the job; it exits when the job is queued.

        gcluster makes any exit status that `--restart-on-exit-codes` does not list fail the job at
        once, through the pod failure policy. A listed one restarts the job, up to `--restarts`
        times.
        """
        kind, topology = compute_type(self.slice)
        place = (("cluster", self.cluster), ("location", self.location), ("project", self.project))
        return [
            *("gcluster", "job", "submit", f"--name={self.name}"),
            *(f"--{name}={value}" for name, value in place if value),
            *(f"--compute-type={kind}", f"--topology={topology}", f"--num-slices={self.slices}"),
            f"--image={self.image}",
            f"--restarts={self.restarts}",
            f"--restart-on-exit-codes={','.join(map(str, handover.RESTARTED))}",
            f"--grace-period={self.grace}s",
            *self.flags,
            f"--command={self._line()}",
        ]

    def _line(self) -> str:
        """Return the line for gcluster, which starts it with `bash -c`; bash becomes the command.

        Kubernetes replaces `$(NAME)` in it, and `$$` by `$`, so each `$` is doubled.
        """
        settings = {
            distributed.MODE: "auto",
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        return f"exec {shlex.join(['env', *words, 'teacherlm', *self.command])}".replace("$", "$$")

    def masked(self) -> "GkeJob":
        """Return the job with secrets in its variables and its command masked."""
        environment = {
            name: masking.MASK if masking.is_secret(name) else value
            for name, value in self.environment.items()
        }
        command = masking.masked(self.command, self.environment)
        return dataclasses.replace(self, environment=environment, command=command)


def compute_type(topology: str) -> tuple[str, str]:
    """Return gcluster's compute type and topology of a slice, such as v5litepod-16 and 4x4.

    Raises UserError if there is no such slice.
    """
    if tpu7x := _TPU7X.fullmatch(topology):
        return "tpu7x", tpu7x[1]
    try:
        wanted = chips.parse(topology)
    except UserError as error:
        message = str(error).replace("--topology=", "--slice=")
        raise UserError(f"{message}; GKE also has tpu7x, as in --slice=tpu7x:2x2x1") from None
    shape = "x".join(map(str, wanted.shape))
    return f"{_TYPES[wanted.chip.name]}-{wanted.chips}", shape


# Options by the heading of their group: settings for argparse by name.
_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "job": {
        "--name": {"required": True, "help": "name of the job"},
        "--slice": {"required": True, "help": "TPU slice, such as v5e:8x8 or tpu7x:2x2x1"},
        "--image": {
            "required": True,
            "help": "container image with `teacherlm` on its path and the config files",
        },
        "--bucket": {"required": True, "help": "bucket that the command writes to, gs://NAME"},
        "--slices": {
            "type": command_line.positive,
            "default": 1,
            "help": "number of slices (default: 1)",
        },
        "--env": {
            "action": "append",
            "default": [],
            "help": "variable of the command, NAME=VALUE, or NAME for the value set here; may be "
            "repeated. Everyone who may read the job can read it",
        },
    },
    "cluster": {
        "--cluster": {
            "default": "",
            "help": "GKE cluster (default: that of `gcluster job config`)",
        },
        "--location": {"default": "", "help": "its region or zone (default: likewise)"},
        "--project": {"default": "", "help": "Google Cloud project (default: likewise)"},
        "--submit_flag": {
            "action": "append",
            "default": [],
            "help": "another flag for `gcluster job submit`, such as --queue=NAME; may be repeated",
        },
    },
    "restarts": {
        "--restarts": {
            "type": command_line.positive,
            "default": 20,
            "help": "maximum number (default: 20)",
        },
        "--grace": {
            "type": command_line.positive,
            "default": 120,
            "help": "seconds to save a checkpoint before a pod is killed (default: 120)",
        },
    },
    "check": {
        "--source": {
            "type": Path,
            "default": Path(),
            "help": "checkout with the config files of the image (default: the current folder)",
        },
        "--dry_run": {"action": "store_true", "help": "check and print the command, run nothing"},
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status of gcluster, or 2 if something is invalid."""
    parser = command_line.parser("gke.py", __doc__ or "", _OPTIONS)
    options, words = command_line.with_command(parser, arguments)
    return command_line.status_of(lambda: _submit(options, words))


def _submit(options: argparse.Namespace, words: Sequence[str]) -> int:
    job = GkeJob(
        name=options.name,
        slice=options.slice,
        image=options.image,
        bucket=options.bucket,
        command=words,
        cluster=options.cluster,
        location=options.location,
        project=options.project,
        slices=options.slices,
        restarts=options.restarts,
        grace=options.grace,
        environment=handover.environment_of(options.env),
        flags=options.submit_flag,
    )
    environment = {distributed.MODE: "auto"}
    command_check.require_valid(words, environment, options.source, job.devices)
    return handover.hand_over(
        job.submit(),
        _INSTALL,
        dry=options.dry_run,
        shown=job.masked().submit(),
        environment=job.environment,
    )


if __name__ == "__main__":
    sys.exit(main())
