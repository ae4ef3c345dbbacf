"""Records of the steps of a pipeline that were run: command, and digests of inputs and output."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

# States of a step. One that has a result but no record is UNKNOWN, like one that has not begun.
FINISHED, CHANGED, STARTED, FAILED, UNKNOWN = "finished", "changed", "started", "failed", "-"


@dataclasses.dataclass(frozen=True)
class StepDigests:
    """Everything that identifies a finished step.

    Attributes:
        command: its command line.
        inputs: digests of the files and folders that it reads, by path.
        output: digest of its result.
    """

    command: str
    inputs: Mapping[str, str]
    output: str


class StepRecords:
    """The records in the run folder of a pipeline."""

    def __init__(self, folder: epath.Path):
        """Read the records in a folder; there need not be any."""
        self._path = folder / layout.STEP_RECORDS
        self._records: dict[str, Any] = {}
        if files.exists(self._path):
            self._records = files.read_json(self._path)

    def changes(self, name: str, now: StepDigests) -> list[str] | None:
        """Return what differs from the step that finished; None if it is not known to have.

        A path that was not there before, or is no longer read, differs as well.
        """
        record = self._records.get(name)
        if record is None or "failed" in record:
            return None
        before, after = record["inputs"], now.inputs
        changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
        changed += ["its command"] if record["command"] != now.command else []
        return changed + (["its result"] if record["output"] != now.output else [])

    def failure(self, name: str) -> int | None:
        """Return the exit status of a step that failed when it was last run; None if it did not."""
        return self._records.get(name, {}).get("failed")

    def finish(self, name: str, digests: StepDigests, seconds: float) -> None:
        """Record that a step has finished."""
        self._write(name, {**dataclasses.asdict(digests), "seconds": seconds})

    def fail(self, name: str, status: int) -> None:
        """Record that a step has failed."""
        self._write(name, {"failed": status})

    def forget(self, name: str) -> None:
        """Remove the record of a step, such as that of a failure, if there is one."""
        if self._records.pop(name, None) is not None:
            files.write_json(self._path, self._records)

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        self._records[name] = dict(record)
        files.write_json(self._path, self._records)
