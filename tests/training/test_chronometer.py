import time

import jax.numpy as jnp
import pytest

from teacherlm_jax.training.chronometer import ACTIVITIES, Chronometer, clock, percentiles


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def fake():
    return Clock()


@pytest.fixture
def chrono(fake):
    chrono = Chronometer(fake)
    yield chrono
    chrono.close()


def test_every_second_belongs_to_one_activity(chrono, fake):
    fake.now += 3
    chrono.begin("steps")
    fake.now += 10
    with chrono.pause("validation"):
        fake.now += 4
    fake.now += 1
    chrono.begin("checkpoint")
    fake.now += 2
    seconds = chrono.seconds()
    assert seconds == dict.fromkeys(ACTIVITIES, 0) | {
        "start": 3,
        "steps": 11,
        "checkpoint": 2,
        "validation": 4,
    }
    assert sum(seconds.values()) == fake.now - 100
    summary = chrono.summary()
    assert summary["wall_seconds"] == 20 and summary["goodput"] == 11 / 20


class Running:
    """Stand-in for arrays that devices compute until `ready()` is called."""

    def __init__(self):
        self.done = False

    def block_until_ready(self):
        while not self.done:
            time.sleep(0.001)


def test_waiting_for_rows_counts_as_input_only_while_the_devices_are_idle(chrono, fake):
    chrono.begin("steps")
    running = Running()
    with chrono.fetching(running):
        fake.now += 7  # the devices compute all the time
        running_until = fake.now
    assert chrono.seconds()["input"] == 0

    running.done = True
    chrono._pool.submit(lambda: None).result()  # the thread has noticed
    with chrono.fetching(jnp.zeros(())):
        chrono._pool.submit(lambda: None).result()
        fake.now += 5  # the devices have finished
    assert chrono.seconds()["input"] == 5
    assert chrono.seconds()["steps"] == running_until - 100
    assert chrono.training_seconds == 12


def test_an_activity_ends_if_it_fails(chrono, fake):
    def fail_to_compile():
        with chrono.pause("compile"):
            fake.now += 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_to_compile()
    fake.now += 5
    assert chrono.seconds()["compile"] == 1
    assert chrono.seconds()["start"] == 5


def test_a_resumed_run_adds_the_seconds_of_the_processes_before_it(chrono, fake):
    earlier = {"spent": {"steps": 50.0, "repeated": 7.0}, "window_seconds": 4.0}
    chrono.resume(earlier, repeated=2.0)
    fake.now += 3
    assert chrono.seconds() == dict.fromkeys(ACTIVITIES, 0) | {
        "start": 3,
        "steps": 50,
        "repeated": 9,
    }
    chrono.begin("steps")
    fake.now += 6
    assert chrono.state()["window_seconds"] == 10
    assert chrono.end_window() == 10
    fake.now += 2
    assert chrono.end_window() == 2


def test_step_times_leave_out_steps_that_a_pause_interrupted(chrono, fake):
    for seconds in (1, 2, 3):
        fake.now += seconds
        chrono.end_step()
    with chrono.pause("checkpoint"):
        fake.now += 60
    chrono.end_step()
    fake.now += 4
    chrono.end_step()
    times = chrono.summary()["step_seconds"]
    assert times["count"] == 3 and times["max"] == 4 and times["p50"] == 3


def test_no_steps_have_no_percentiles():
    assert percentiles([]) == {}


def test_an_unknown_activity_is_a_programming_error(chrono):
    with pytest.raises(ValueError, match="unknown activity 'eval'"):
        chrono.begin("eval")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (10809, "3:00:09")]
)
def test_seconds_are_shown_as_on_a_clock(seconds, text):
    assert clock(seconds) == text
