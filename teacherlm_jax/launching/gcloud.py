"""The gcloud commands for one TPU slice behind a queued resource, as lists of words."""

import dataclasses
from collections.abc import Sequence

_TPUS = ("gcloud", "compute", "tpus")
_REQUEST = (*_TPUS, "queued-resources")
_NODE = (*_TPUS, "tpu-vm")


@dataclasses.dataclass(frozen=True)
class QueuedSlice:
    """One slice, and the queued resource of the same name that asks for it.

    Attributes:
        name: of both.
        zone: where.
        project: empty: gcloud's own default.
        accelerator_type: as in v5litepod-64.
        runtime_version: of the hosts' image, as in v2-alpha-tpuv5-lite.
        create_flags: further flags of the request, such as --spot.
        internal_ip: reach the hosts by addresses inside the network.
    """

    name: str
    zone: str
    project: str = ""
    accelerator_type: str = ""
    runtime_version: str = ""
    create_flags: Sequence[str] = ()
    internal_ip: bool = False

    def create(self) -> list[str]:
        """Asks for the slice; returns once the request is accepted."""
        return [
            *(*_REQUEST, "create", self.name, f"--node-id={self.name}", *self._where()),
            f"--accelerator-type={self.accelerator_type}",
            f"--runtime-version={self.runtime_version}",
            *self.create_flags,
        ]

    def state(self) -> list[str]:
        """Prints the request's state, as in ACTIVE; fails with NOT_FOUND where there is none."""
        form = "--format=value(state.state)"
        return [*_REQUEST, "describe", self.name, *self._where(), form]

    def delete(self) -> list[str]:
        """Deletes request and slice, and returns when both are gone."""
        return [*_REQUEST, "delete", self.name, *self._where(), "--force"]

    def copy(self, file: str) -> list[str]:
        """Copies a file into the home folder of every host."""
        return [*_NODE, "scp", file, f"{self.name}:", *self._where(), "--worker=all", *self._by()]

    def on_all(self, command: str) -> list[str]:
        """Gives every host's shell one line, and fails if one of them does.

        The line goes through unchanged: gcloud parts it at spaces, and ssh joins it by spaces.
        """
        words = ("--worker=all", *self._by(), f"--command={command}")
        return [*_NODE, "ssh", self.name, *self._where(), *words]

    def _where(self) -> list[str]:
        project = [f"--project={self.project}"] if self.project else []
        return [f"--zone={self.zone}", *project, "--quiet"]

    def _by(self) -> list[str]:
        return ["--internal-ip"] if self.internal_ip else []
