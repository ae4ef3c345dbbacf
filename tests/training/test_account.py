import pytest

from teacherlm_jax.training.account import ACTIVITIES, Account


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_every_second_belongs_to_one_activity():
    clock = Clock()
    account = Account(clock)
    clock.now += 3
    account.turn_to("steps")
    clock.now += 10
    with account.on("validation"):
        clock.now += 4
    clock.now += 1
    account.turn_to("checkpoint")
    clock.now += 2
    account.move(2.5, "steps", "input")
    assert account.seconds() == {
        "start": 3,
        "compile": 0,
        "steps": 8.5,
        "input": 2.5,
        "checkpoint": 2,
        "validation": 4,
        "repeated": 0,
    }
    assert sum(account.seconds().values()) == clock.now - 100


def test_an_activity_ends_where_it_fails():
    clock = Clock()
    account = Account(clock)

    def compile_badly():
        with account.on("compile"):
            clock.now += 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile_badly()
    clock.now += 5
    assert account.seconds()["compile"] == 1
    assert account.seconds()["start"] == 5


def test_a_run_goes_on_with_the_seconds_of_those_before_it():
    clock = Clock()
    account = Account(clock)
    account.add({"steps": 50.0, "repeated": 7.0})
    clock.now += 3
    assert account.seconds() == dict.fromkeys(ACTIVITIES, 0) | {
        "start": 3,
        "steps": 50,
        "repeated": 7,
    }


def test_an_unknown_activity_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="'eval' is none of"):
        Account().turn_to("eval")
