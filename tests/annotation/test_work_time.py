"""Time that processes have worked, and the devices they held."""

import jax
from jax.sharding import AxisType

from teacherlm_jax.annotation.work_time import Stopwatch, WorkTime, spent
from teacherlm_jax.storage import files


def test_the_time_of_several_processes_is_added_up(tmp_path):
    WorkTime(10.0, 40.0, 4, ("TPU v4",)).keep(tmp_path, "a")
    WorkTime(5.0, 40.0, 8, ("TPU v5",)).keep(tmp_path, "b")
    WorkTime(1.0).keep(tmp_path, "c")
    assert spent(tmp_path) == WorkTime(16.0, 80.0, 8, ("TPU v4", "TPU v5"))


def test_a_run_without_a_record_has_taken_no_time(tmp_path):
    assert spent(tmp_path) == WorkTime()


def test_the_devices_of_a_mesh_count_with_the_time():
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    assert WorkTime.on(mesh, 3.0) == WorkTime(3.0, 24.0, 8, ("cpu",))
    assert WorkTime.on(None, 3.0) == WorkTime(3.0, 0.0, 0, ())


def test_a_stopwatch_replaces_its_file_and_counts_a_block_in_progress(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stopwatch = Stopwatch(tmp_path)
    with stopwatch.running():
        now[0] += 7
        stopwatch.keep()
        assert spent(tmp_path).seconds == 7
    now[0] += 50
    with stopwatch.running():
        now[0] += 2
    stopwatch.keep()
    assert stopwatch.seconds == spent(tmp_path).seconds == 9
    assert len(files.names(tmp_path / "costs")) == 1
