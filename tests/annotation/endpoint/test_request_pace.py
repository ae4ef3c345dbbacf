"""Turns of requests by limits per minute, on a clock that does not run by itself."""

import asyncio

import pytest

from teacherlm_jax.annotation.endpoint.request_pace import RequestPace


class _Clock:
    """A clock that moves when somebody waits for it, to the first one's time."""

    def __init__(self):
        self.now, self._waiting = 0.0, []

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        self._waiting.append((self.now + seconds, len(self._waiting), woken))
        await woken

    async def run(self, tasks):
        while not all(task.done() for task in tasks):
            for _ in range(3):
                await asyncio.sleep(0)
            if self._waiting:
                first = min(self._waiting)
                self._waiting.remove(first)
                self.now = first[0]
                first[2].set_result(None)


def _times(pace_of, requests):
    """Return the times at which concurrent requests for some tokens each have their turns."""
    clock, times = _Clock(), []

    async def request(pace, tokens):
        await pace.turn(tokens)
        times.append(clock.now)

    async def run():
        pace = pace_of(clock=lambda: clock.now, sleep=clock.sleep)
        await clock.run([asyncio.ensure_future(request(pace, tokens)) for tokens in requests])

    asyncio.run(run())
    return times


def _most_in_a_minute(times, counts):
    return max(
        sum(n for t, n in zip(times, counts, strict=True) if start <= t < start + 60)
        for start in times
    )


@pytest.mark.parametrize("limit", [1, 7, 60, 100])
def test_no_minute_has_more_requests_than_the_limit(limit):
    times = _times(lambda **of: RequestPace(limit, 0, **of), [5] * 250)
    assert len(times) == 250
    assert _most_in_a_minute(times, [1] * 250) in (limit, limit + 1)


def test_no_minute_has_more_tokens_than_the_limit_and_one_request():
    tokens = [10, 200, 30] * 40
    times = _times(lambda **of: RequestPace(0, 1000, **of), tokens)
    assert 900 <= _most_in_a_minute(times, tokens) <= 1000 + 200


def test_the_stricter_limit_counts():
    times = _times(lambda **of: RequestPace(10, 1000, **of), [500] * 20)
    assert _most_in_a_minute(times, [500] * 20) <= 1500
    times = _times(lambda **of: RequestPace(10, 10**6, **of), [500] * 20)
    assert _most_in_a_minute(times, [1] * 20) <= 11


def test_nothing_waits_without_limits():
    assert _times(lambda **of: RequestPace(0, 0, **of), [10**9] * 5) == [0.0] * 5


def test_tokens_that_were_not_used_are_given_back():
    clock = _Clock()

    async def run(given_back):
        pace = RequestPace(0, 600, clock=lambda: clock.now, sleep=clock.sleep)
        await pace.turn(600)
        pace.give_back(given_back)
        start = clock.now
        await clock.run([asyncio.ensure_future(pace.turn(1))])
        return clock.now - start

    assert asyncio.run(run(0)) == pytest.approx(60)
    assert asyncio.run(run(590)) == pytest.approx(1)
