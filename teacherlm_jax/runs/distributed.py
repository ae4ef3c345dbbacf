"""Several processes of one program, on one machine or on the hosts of a pod.

A launcher says in the environment that a process is one of several: either by
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or by TEACHERLM_DISTRIBUTED=auto
where JAX finds these by itself (Cloud TPU, GKE, Slurm, Open MPI). Otherwise there is one process,
and JAX is not even imported here.
"""

import dataclasses
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from teacherlm_jax.errors import Interrupted, UserError

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
MODE = "TEACHERLM_DISTRIBUTED"

_REFUSED = 2  # exit status of a process that follows a refusal which another one tells
_MEET_SECONDS = 300  # for the others to start
_LEAVE_SECONDS = 30  # for the others to end: more, and one that failed alone is noticed late


@dataclasses.dataclass(frozen=True)
class ProcessAddress:
    """A process among others: where they meet, how many they are, which one it is."""

    address: str
    count: int
    index: int


class Device(Protocol):
    """The part of a `jax.Device` that is needed here."""

    process_index: int


_started = False


def place(environment: Mapping[str, str]) -> ProcessAddress | None:
    """What a launcher said in `environment`; None where it said nothing.

    Raises UserError for numbers that are none, or do not fit each other.
    """
    if COUNT not in environment:
        return None
    found = {name: environment.get(name, "") for name in (ADDRESS, COUNT, INDEX)}
    count, index = found[COUNT], found[INDEX]
    if not (found[ADDRESS] and count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        shown = ", ".join(f"{name}={value!r}" for name, value in found.items())
        raise UserError(
            f"{shown}: wanted the first process's HOST:PORT, the number of processes, and this "
            "process's number from 0; set all three, or none"
        )
    return ProcessAddress(found[ADDRESS], int(count), int(index))


def start(verb: str, together: bool) -> None:
    """Joins the other processes, if a launcher started several; call before JAX is used.

    `together` is whether several processes can do the verb as one. Raises UserError where they
    cannot, where the environment cannot be understood, and as `refuse_uneven` does; Interrupted
    where the others do not come.
    """
    global _started
    if not require_able(verb, together):
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
    except (RuntimeError, ValueError) as error:  # nobody there, or no cluster that JAX knows
        where = here.address if here else f"the place that {MODE}=auto found"
        message = f"{where}: the processes did not meet: {error}; start all of them again"
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


def _left_to_jax() -> bool:
    mode = os.environ.get(MODE, "")
    if mode not in ("", "auto"):
        raise UserError(f"{MODE}={mode!r}: wanted auto, or nothing")
    return mode == "auto"


def refuse_uneven(devices: Iterable[Device]) -> None:
    """Raises UserError unless every process has equally many of all processes' `devices`."""
    counts = Counter(device.process_index for device in devices)
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} in process {index}" for index, count in sorted(counts.items()))
        raise UserError(
            f"uneven processes: {found}; give every process the same number of devices, as in "
            "launch/local.py --devices=4"
        )


def process_count() -> int:
    """How many processes work together."""
    if not _started:
        return 1
    import jax

    return jax.process_count()


def is_first() -> bool:
    """Whether this process is the one that writes what is written once."""
    if not _started:
        return True
    import jax

    return jax.process_index() == 0


def of_first(make: Callable[[], Any]) -> Any:
    """What `make` gives in the first process, and there alone it is called; to be JSON-able.

    Where `make` raises, the first process does, and the others leave with exit status 2: one of
    them tells why, and none waits.
    """
    if process_count() == 1:
        return make()
    if not is_first():
        told = json.loads(_broadcast(""))
        if told["refused"]:
            sys.exit(_REFUSED)
        return told["value"]
    try:
        value = make()
    except Exception:
        _broadcast(json.dumps({"refused": True}))
        raise
    _broadcast(json.dumps({"refused": False, "value": value}))
    return value


def without(see: Callable[[], bool]) -> list[int]:
    """The numbers of the processes in which `see` is false; all of them ask, and all get it."""
    if process_count() == 1:
        return [] if see() else [0]
    from jax.experimental import multihost_utils

    seen = np.ravel(multihost_utils.process_allgather(np.array(see())))
    return [number for number, each in enumerate(seen) if not each]


def _broadcast(text: str) -> str:
    """The first process's text in all of them."""
    from jax.experimental import multihost_utils

    content = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(content.size)))
    if not is_first():
        content = np.zeros(size, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(content))).decode()
