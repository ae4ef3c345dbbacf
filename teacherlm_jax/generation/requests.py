"""Requests to continue prompts, their completions, and the queue of requests of an engine."""

import bisect
import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt32

from teacherlm_jax.errors import UserError
from teacherlm_jax.models.buckets import power_of_two

_SMALLEST_BUCKET = 16  # tokens of a prompt


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
    """A prompt to be continued.

    Attributes:
        id: name of the request, repeated in its completion.
        tokens: ids of the prompt.
        key: random key of this text alone, see `sampling.request_key`.
        prefix: number of leading tokens that it shares with the request before it or after it, if
            any; neighbours with the same leading tokens can be read together.
    """

    id: str
    tokens: Sequence[int] | Int[np.ndarray, " T"]
    key: UInt32[np.ndarray, "2"]
    prefix: int = 0


@dataclasses.dataclass(frozen=True)
class Completion:
    """The text generated for a request.

    Attributes:
        id: id of the request.
        tokens: ids, without the end-of-text token.
        finish_reason: "eos" if the model ended the text, "length" if max_new_tokens did.
    """

    id: str
    tokens: tuple[int, ...]
    finish_reason: str


class WaitingRequests:
    """Requests that have not been started, by the bucket of their prompt's length."""

    def __init__(self, requests: Iterable[GenerationRequest], prompt_length: int):
        self._requests, self._prompt_length = iter(requests), prompt_length
        self._buckets: dict[int, collections.deque[GenerationRequest]] = {}

    def take(self, count: int, ahead: int) -> tuple[int, list[GenerationRequest]] | None:
        """Return a bucket and up to `count` of its requests, after looking at `ahead` requests.

        A prompt's bucket depends only on its own length, so a prompt is always read in the same
        shape.
        """
        while sum(map(len, self._buckets.values())) < ahead:
            request = next(self._requests, None)
            if request is None:
                break
            self._buckets.setdefault(self._bucket(request), collections.deque()).append(request)
        if not self._buckets:
            return None
        bucket = max(self._buckets, key=lambda bucket: len(self._buckets[bucket]))
        queue = self._buckets[bucket]
        taken = [queue.popleft() for _ in range(min(count, len(queue)))]
        if not queue:
            del self._buckets[bucket]
        return bucket, taken

    def _bucket(self, request: GenerationRequest) -> int:
        length = len(request.tokens)
        if not 1 <= length <= self._prompt_length:
            raise UserError(
                f"request {request.id}: its prompt has {length} tokens, expected 1 to "
                f"{self._prompt_length}; shorten it or leave it out"
            )
        return power_of_two(length, _SMALLEST_BUCKET)


class RequestsByLength:
    """A stream of requests, divided by the lengths of their prompts.

    The first group is read from the stream. Requests of the other groups wait until there are many
    of them, or until the stream ends; the first group then pauses.
    """

    def __init__(self, requests: Iterable[GenerationRequest], longest: Sequence[int], most: int):
        """Read nothing yet.

        Args:
            requests: the stream.
            longest: most tokens in a prompt of each group, ascending; longer prompts go to the last
                group, whose engine refuses them.
            most: requests that wait at most.
        """
        self._requests, self._longest, self._most = iter(requests), longest, most
        self._deferred: list[list[GenerationRequest]] = [[] for _ in longest]
        self._ended = not longest

    def pending(self) -> bool:
        """Return whether there may be requests that no queue has handed out."""
        return not self._ended or any(self._deferred)

    def by_group(self) -> Iterator[Iterator[GenerationRequest]]:
        """Yield a queue for each group; each is used up before the next one is taken."""
        yield self._first_group()
        for group in range(1, len(self._longest)):
            waiting, self._deferred[group] = self._deferred[group], []
            yield iter(waiting)

    def _first_group(self) -> Iterator[GenerationRequest]:
        while sum(map(len, self._deferred)) < self._most:
            request = next(self._requests, None)
            if request is None:
                self._ended = True
                return
            group = bisect.bisect_left(self._longest[:-1], len(request.tokens))
            if group == 0:
                yield request
            else:
                self._deferred[group].append(request)
