"""Several processes of one program, on one machine or on the hosts of a pod.

A launcher tells a process through the environment that it is one of several: either by
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or by TEACHERLM_DISTRIBUTED=auto
where JAX detects them itself (Cloud TPU, GKE, Slurm, Open MPI). Otherwise there is one process, and
this module does not import JAX. On a host that is one of several, such a process is refused unless
TEACHERLM_DISTRIBUTED=alone.
"""

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import companions

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
MODE = "TEACHERLM_DISTRIBUTED"
ALONE = "alone"  # value of MODE for one process on one of several hosts

_REFUSED = 2  # exit status of a process after another one has reported an error
_MEET_SECONDS = 300  # timeout for the other processes to start
_LEAVE_SECONDS = 30  # timeout for the others to exit; a failed process is noticed after it
_MESSAGE_SECONDS = 5  # timeout for process 0 to show the error of another process, too
_SHORTEST_SECONDS = 0.1  # timeout for the answer about a process that has already failed


@dataclasses.dataclass(frozen=True)
class ProcessAddress:
    """Coordinator address, number of processes, and the index of this process."""

    address: str
    count: int
    index: int


class RefusedByFirst(SystemExit):
    """Process 0 has raised an error and reports it; this process exits without a message."""

    def __init__(self) -> None:
        super().__init__(_REFUSED)


class Device(Protocol):
    """The attributes of a `jax.Device` that this module uses."""

    process_index: int


_started = False


def place(environment: Mapping[str, str]) -> ProcessAddress | None:
    """Return what a launcher set in `environment`; None if it set nothing.

    Raises UserError if a value is missing or not a number, or if the index is out of range.
    """
    if COUNT not in environment:
        return None
    values = {name: environment.get(name, "") for name in (ADDRESS, COUNT, INDEX)}
    address, count, index = values.values()
    if not (address and count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise UserError(
            f"{shown}: expected HOST:PORT of the first process, the number of processes, and the "
            "index of this process, from 0; set all three, or none"
        )
    return ProcessAddress(address, int(count), int(index))


def start(verb: str, together: bool, shared: bool = False) -> None:
    """Join the other processes if a launcher started several; call this before JAX is used.

    Args:
        verb: name of the verb, for messages.
        together: whether several processes can run the verb as one.
        shared: whether several processes can work in one run folder, each by itself.

    Raises:
        UserError: the verb runs in one process only, the environment is invalid, this process was
            started alone on one of several hosts, or the processes have different numbers of
            devices.
        Interrupted: the other processes did not start in time.
    """
    global _started
    if not require_able(verb, together):
        if together:
            _refuse_alone(verb, shared)
        return
    here = place(os.environ)
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            here.address if here else None,
            here.count if here else None,
            here.index if here else None,
            initialization_timeout=_MEET_SECONDS,
            shutdown_timeout_seconds=_LEAVE_SECONDS,
        )
    except (RuntimeError, ValueError) as error:  # nobody answers, or JAX knows no such cluster
        address = here.address if here else f"the address that {MODE}=auto detected"
        message = f"{address}: the processes did not connect: {error}; start all of them again"
        raise Interrupted(message, status=os.EX_TEMPFAIL) from None
    _started = True
    refuse_uneven(jax.devices())


def require_able(verb: str, together: bool) -> bool:
    """Return whether a launcher started this process as one of several.

    Raises UserError if it did and the verb cannot run in several (`together` is false).
    """
    if place(os.environ) is None and not _left_to_jax():
        return False
    if not together:
        raise UserError(
            f"{verb}: runs in one process only, but was started as one of several; start it "
            "without a launcher, or on one worker"
        )
    return True


def _refuse_alone(verb: str, shared: bool) -> None:
    """Raise UserError if this host is one of several, and no launcher started the others.

    A verb that is `shared` may run by itself on each node, but not on each host of a TPU slice,
    whose chips form one computer.
    """
    if os.environ.get(MODE) == ALONE:
        return
    sign = companions.of_slice(os.environ)
    if not sign and not shared:
        sign = companions.of_cluster(os.environ)
    if sign:
        raise UserError(
            f"{verb}: {sign}, so this is one of several processes, but it was started alone and "
            f"would write into the run folder of the others; start all of them with {MODE}=auto, "
            f"or with {ADDRESS}, {COUNT} and {INDEX}, as the launchers do, or set {MODE}={ALONE} "
            "if this one works by itself"
        )


def _left_to_jax() -> bool:
    mode = os.environ.get(MODE, "")
    if mode not in ("", "auto", ALONE):
        raise UserError(f"{MODE}={mode!r}: expected auto, {ALONE}, or unset")
    return mode == "auto"


def refuse_uneven(devices: Iterable[Device]) -> None:
    """Raise UserError unless all processes have the same number of `devices`."""
    counts = Counter(device.process_index for device in devices)
    if len(set(counts.values())) > 1:
        by_process = sorted(counts.items())
        shown = ", ".join(f"{count} in process {index}" for index, count in by_process)
        raise UserError(
            f"different numbers of devices: {shown}; give every process the same number, as in "
            "launch/local.py --devices=4"
        )


def process_count() -> int:
    """Return the number of processes."""
    if not _started:
        return 1
    import jax

    return jax.process_count()


def process_index() -> int:
    """Return the index of this process, from 0."""
    if not _started:
        return 0
    import jax

    return jax.process_index()


def is_first() -> bool:
    """Return whether this is process 0, which writes the files that are written once."""
    return process_index() == 0


def of_first(make: Callable[[], Any]) -> Any:
    """Call `make` in process 0 only, and return its result in all processes.

    The result must be JSON-serializable. If `make` raises, process 0 raises and the others exit
    with status 2: one process reports the error, and none waits.
    """
    if process_count() == 1:
        return make()
    if not is_first():
        answer = json.loads(_broadcast(""))
        if answer["refused"]:
            raise RefusedByFirst
        return answer["value"]
    try:
        value = make()
    except Exception:
        _broadcast(json.dumps({"refused": True}))
        raise
    _broadcast(json.dumps({"refused": False, "value": value}))
    return value


def shown_by_first(message: str) -> bool:
    """Return whether process 0 shows the same message and this is another process.

    Call this before an error message is shown, so that only process 0 shows it. No process waits
    long for another one, which may still be working.
    """
    if process_count() == 1:
        return False
    key = "teacherlm/message"
    if is_first():
        _store().key_value_set(key, message, allow_overwrite=True)
        return False
    return _published(key, _MESSAGE_SECONDS) == message


def all_failed(work: str) -> bool:
    """Return whether all processes failed in `work`; those that did call this.

    `work` must be another name at each call, since a process is not asked again. The others get
    one time limit together.
    """
    if process_count() == 1:
        return True
    keys = [f"teacherlm/failed/{work}/{index}" for index in range(process_count())]
    _store().key_value_set(keys[process_index()], "failed", allow_overwrite=True)
    end = time.monotonic() + _LEAVE_SECONDS
    return all(
        _published(key, max(end - time.monotonic(), _SHORTEST_SECONDS)) is not None for key in keys
    )


def _store() -> Any:
    """Return the key-value store that all processes share.

    JAX and Orbax use it themselves. JAX has no public name for it.
    """
    from jax._src.distributed import global_state

    return global_state.client


def _published(key: str, seconds: float) -> str | None:
    """Return the value of a key that a process publishes within a time, or None."""
    try:
        return _store().blocking_key_value_get(key, int(1000 * seconds))
    except RuntimeError:  # the time has passed, or process 0 is gone
        return None


def without(see: Callable[[], bool]) -> list[int]:
    """Return the processes in which `see` returns false; all processes must call this."""
    if process_count() == 1:
        return [] if see() else [0]
    from jax.experimental import multihost_utils

    seen = np.ravel(multihost_utils.process_allgather(np.array(see())))
    return [number for number, sees in enumerate(seen) if not sees]


def _broadcast(text: str) -> str:
    """Return the text of process 0 in all processes."""
    from jax.experimental import multihost_utils

    content = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(content.size)))
    if not is_first():
        content = np.zeros(size, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(content))).decode()
