import dataclasses
import os
import subprocess
import sys
import types

import jax
import pytest

from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import distributed
from teacherlm_jax.runs.distributed import ProcessAddress

SET = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}


@dataclasses.dataclass
class Device:
    process_index: int


def test_a_process_reads_address_count_and_index_from_its_environment():
    assert distributed.place(SET) == ProcessAddress("a:1", count=2, index=1)
    assert distributed.place({"JAX_COORDINATOR_ADDRESS": "a:1"}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"JAX_PROCESS_ID": "2"},
        {"JAX_PROCESS_ID": ""},
        {"JAX_NUM_PROCESSES": "two"},
        {"JAX_COORDINATOR_ADDRESS": ""},
    ],
)
def test_an_inconsistent_environment_is_refused(changes):
    with pytest.raises(UserError, match=f"{next(iter(changes))}='.*set all three, or none"):
        distributed.place(SET | changes)


def test_processes_with_different_numbers_of_devices_are_refused():
    distributed.refuse_uneven([Device(0), Device(1), Device(0), Device(1)])
    with pytest.raises(
        UserError, match="different numbers of devices: 2 in process 0, 1 in process 1; give"
    ):
        distributed.refuse_uneven([Device(0), Device(1), Device(0)])


def test_a_single_process_is_the_first_of_one():
    distributed.start("train", together=True)
    assert distributed.is_first() and distributed.process_count() == 1
    assert distributed.of_first(lambda: "value") == "value"


@pytest.mark.parametrize("environment", [SET, {"TEACHERLM_DISTRIBUTED": "auto"}])
def test_a_single_process_verb_is_refused_in_several_processes(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="report: runs in one process only"):
        distributed.start("report", together=False)


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv("TEACHERLM_DISTRIBUTED", "yes")
    with pytest.raises(UserError, match="TEACHERLM_DISTRIBUTED='yes': expected auto"):
        distributed.start("train", together=True)


def test_processes_that_do_not_connect_may_be_restarted(monkeypatch):
    def time_out(*arguments, **options):
        raise RuntimeError("DEADLINE_EXCEEDED")

    monkeypatch.setattr(jax.distributed, "initialize", time_out)
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        Interrupted, match="a:1: the processes did not connect: DEAD.*start all"
    ) as end:
        distributed.start("train", together=True)
    assert end.value.status == os.EX_TEMPFAIL


def test_one_process_starts_without_jax():
    code = (
        "import sys; from teacherlm_jax.runs import distributed, run_folder\n"
        "distributed.start('report', False)\n"
        "sys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_processes_that_failed_are_waited_for_with_one_time_limit(monkeypatch):
    clock = [0.0]

    class Store:
        """A store in which every key appears 20 s after it is asked for."""

        def key_value_set(self, key, value, allow_overwrite):
            pass

        def blocking_key_value_get(self, key, milliseconds):
            clock[0] += min(20, milliseconds / 1000)
            if milliseconds < 20_000:
                raise RuntimeError("the time has passed")
            return "failed"

    monkeypatch.setattr(distributed, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(distributed, "_store", Store)
    monkeypatch.setattr(distributed, "process_count", lambda: 64)
    monkeypatch.setattr(distributed, "process_index", lambda: 0)
    assert not distributed.all_failed("point")
    assert clock[0] == pytest.approx(30, abs=1)
