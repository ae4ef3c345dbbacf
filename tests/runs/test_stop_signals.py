"""Signals that stop a command."""

import signal

import pytest

from teacherlm_jax.runs.stop_signals import handling


@pytest.fixture(autouse=True)
def hangup():
    """SIGHUP as a terminal sends it: tests may run under `nohup`, which ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_each_signal_calls_the_handler_and_then_has_its_own_again():
    numbers = (signal.SIGTERM, signal.SIGINT)
    before, received = [signal.getsignal(number) for number in numbers], []
    with handling(lambda number, frame: received.append(number)):
        for number in numbers:
            signal.raise_signal(number)
    assert received == [*numbers]
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_terminal_that_is_closed_stops_a_command_once_although_it_sends_two_signals():
    received = []
    with handling(lambda number, frame: received.append(number)):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)  # while the command ends
    assert received == [signal.SIGHUP]


def test_a_hangup_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    received = []
    with handling(lambda number, frame: received.append(number)):
        signal.raise_signal(signal.SIGHUP)
    assert received == []
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
