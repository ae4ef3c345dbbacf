"""A pace of requests that stays below a server's limits per minute."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_MINUTE = 60.0  # seconds


class RequestPace:
    """Turns of requests, spread evenly over each minute.

    Within 60 seconds there are at most `requests` + 1 turns, and their tokens exceed `tokens` by
    those of one request at most.
    """

    def __init__(
        self,
        requests: int,
        tokens: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        """Let the first request pass at once.

        Args:
            requests: maximum number of requests per minute; 0: any number.
            tokens: maximum number of tokens per minute; 0: any number.
            clock: function that returns the time in seconds.
            sleep: function that waits for some seconds.
        """
        self._seconds_of_request = _MINUTE / requests if requests else 0.0
        self._seconds_of_token = _MINUTE / tokens if tokens else 0.0
        self._clock, self._sleep = clock, sleep
        self._next_request = self._next_tokens = clock()  # times of the next turn by each limit

    async def turn(self, tokens: int) -> None:
        """Wait until the next request, of `tokens` tokens, may be sent."""
        now = self._clock()
        turn = max(now, self._next_request, self._next_tokens)
        self._next_request = turn + self._seconds_of_request
        self._next_tokens = turn + tokens * self._seconds_of_token
        if turn > now:
            await self._sleep(turn - now)

    def give_back(self, tokens: int) -> None:
        """Return unused tokens of a turn; a negative number counts more."""
        self._next_tokens -= tokens * self._seconds_of_token
