"""The gcloud commands for one TPU slice that is requested as a queued resource, as argv lists."""

import dataclasses
from collections.abc import Sequence

_TPUS = ("gcloud", "compute", "tpus")
_REQUEST = (*_TPUS, "queued-resources")
_NODE = (*_TPUS, "tpu-vm")


@dataclasses.dataclass(frozen=True)
class QueuedSlice:
    """One TPU slice, and the queued resource of the same name that requests it.

    Attributes:
        name: name of both.
        zone: zone of both.
        project: Google Cloud project; empty: gcloud's default.
        accelerator_type: version and size, such as v5litepod-64.
        runtime_version: image of the hosts, such as v2-alpha-tpuv5-lite.
        create_flags: more flags of `create`, such as --spot.
        internal_ip: whether to reach the hosts by their internal addresses.
    """

    name: str
    zone: str
    project: str = ""
    accelerator_type: str = ""
    runtime_version: str = ""
    create_flags: Sequence[str] = ()
    internal_ip: bool = False

    def create(self) -> list[str]:
        """Return the command that requests the slice; it exits when the request is accepted."""
        return [
            *(*_REQUEST, "create", self.name, f"--node-id={self.name}", *self._location()),
            f"--accelerator-type={self.accelerator_type}",
            f"--runtime-version={self.runtime_version}",
            *self.create_flags,
        ]

    def state(self) -> list[str]:
        """Return the command that prints the request's state, such as ACTIVE.

        It fails with NOT_FOUND if there is no request.
        """
        form = "--format=value(state.state)"
        return [*_REQUEST, "describe", self.name, *self._location(), form]

    def delete(self) -> list[str]:
        """Return the command that deletes the request and the slice, and waits until it is done."""
        return [*_REQUEST, "delete", self.name, *self._location(), "--force"]

    def copy(self, file: str) -> list[str]:
        """Return the command that copies a file to the home folder of every host."""
        return [
            *_NODE,
            "scp",
            file,
            f"{self.name}:",
            *self._location(),
            "--worker=all",
            *self._network(),
        ]

    def on_all(self, command: str) -> list[str]:
        """Return the command that runs a shell line on every host; it fails if one host fails.

        The line arrives unchanged: gcloud splits it at spaces, and ssh joins the words again.
        """
        words = ("--worker=all", *self._network(), f"--command={command}")
        return [*_NODE, "ssh", self.name, *self._location(), *words]

    def _location(self) -> list[str]:
        project = [f"--project={self.project}"] if self.project else []
        return [f"--zone={self.zone}", *project, "--quiet"]

    def _network(self) -> list[str]:
        return ["--internal-ip"] if self.internal_ip else []
