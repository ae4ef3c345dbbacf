"""Requests to continue prompts, their completions, and the queues of requests of an engine."""

import bisect
import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt32

from teacherlm_jax.errors import UserError
from teacherlm_jax.models.buckets import power_of_two

_SMALLEST_PREFIX = 32  # tokens


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
    """A prompt to be continued.

    Attributes:
        id: name of the request, repeated in its completion.
        tokens: ids of the prompt.
        key: random key of this text alone, see `sampling.request_key`.
        prefix: number of leading tokens that it shares with the request before it or after it, if
            any; neighbours with the same leading tokens can be read together.
        most: maximum number of new tokens of this text, up to `max_new_tokens` of the sampling,
            which is the default (None).
        adapter: index of the adapter that writes the text, in a model with several.
    """

    id: str
    tokens: Sequence[int] | Int[np.ndarray, " T"]
    key: UInt32[np.ndarray, "2"]
    prefix: int = 0
    most: int | None = None
    adapter: int = 0


@dataclasses.dataclass(frozen=True)
class Completion:
    """The text generated for a request.

    Attributes:
        id: id of the request.
        tokens: ids, without the end-of-text token.
        finish_reason: "eos" if the model ended the text, "length" if the limit did, "stop" if
            the last token completed a stop string.
    """

    id: str
    tokens: tuple[int, ...]
    finish_reason: str


@dataclasses.dataclass(frozen=True)
class PromptFamily:
    """Requests of one adapter whose prompts begin with the same tokens, which are read once.

    Attributes:
        prefix: the shared tokens; each prompt has at least one more.
        requests: the requests.
    """

    prefix: Int[np.ndarray, " T"]
    requests: list[GenerationRequest]

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens to which the prefix and the rest of each prompt are padded.

        They depend on the prompts alone, so that a prompt is always read in the same shape.
        """
        rest = max(len(request.tokens) for request in self.requests) - len(self.prefix)
        return prefix_bucket(len(self.prefix)), power_of_two(rest)


def prefix_bucket(tokens: int) -> int:
    """Return the length to which a prefix of `tokens` tokens is padded."""
    return power_of_two(max(1, tokens), _SMALLEST_PREFIX)


class WaitingFamilies:
    """Requests that have not been started, by the shape of their families."""

    def __init__(self, requests: Iterable[GenerationRequest], prompt_length: int, members: int):
        """Read nothing yet.

        Args:
            requests: the stream of requests. It is read again after it has ended, because
                requests may be added, such as prompts that are tried again.
            prompt_length: maximum number of tokens in a prompt.
            members: maximum number of requests in a family.
        """
        self._requests, self._ahead = iter(requests), list[GenerationRequest]()
        self._prompt_length, self._members = prompt_length, members
        self._by_shape: dict[tuple[int, int], collections.deque[PromptFamily]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """Return the number of requests that were read and not taken."""
        return self._waiting

    def fill(self, ahead: int) -> None:
        """Read requests until `ahead` of them are waiting, or the stream ends.

        Raises UserError if a prompt is empty or too long.
        """
        while self._waiting < ahead and (family := self._next_family()):
            self._by_shape.setdefault(family.shape, collections.deque()).append(family)
            self._waiting += len(family.requests)

    def take(self, free: int, most: int) -> tuple[tuple[int, int], list[PromptFamily]] | None:
        """Return the most frequent shape, and up to `most` of its families with `free` requests."""
        for shape in sorted(self._by_shape, key=lambda shape: -len(self._by_shape[shape])):
            queue, taken, left = self._by_shape[shape], list[PromptFamily](), free
            while queue and len(taken) < most and len(queue[0].requests) <= left:
                taken.append(queue.popleft())
                left -= len(taken[-1].requests)
            if not queue:
                del self._by_shape[shape]
            if taken:
                self._waiting -= free - left
                return shape, taken
        return None

    def _next_family(self) -> PromptFamily | None:
        """Return neighbouring requests with the same prefix and adapter; None if there are none."""
        family = None
        while (request := self._next_request()) is not None:
            length = len(request.tokens)
            shared = min(request.prefix or length - 1, length - 1)
            prefix = np.asarray(request.tokens[:shared], np.int32)
            if family is None:
                family = PromptFamily(prefix, [request])
                continue
            joins = (
                request.prefix
                and request.adapter == family.requests[0].adapter
                and np.array_equal(prefix, family.prefix)
            )
            if not joins or len(family.requests) == self._members:
                self._ahead.append(request)
                break
            family.requests.append(request)
        return family

    def _next_request(self) -> GenerationRequest | None:
        request = self._ahead.pop() if self._ahead else next(self._requests, None)
        if request is not None and not 1 <= len(request.tokens) <= self._prompt_length:
            raise UserError(
                f"request {request.id}: its prompt has {len(request.tokens)} tokens, expected 1 to "
                f"{self._prompt_length}; shorten it or leave it out"
            )
        return request


class RequestsByLength:
    """A stream of requests, divided by the lengths of their prompts.

    The first group is read from the stream. Requests of the other groups wait until there are many
    of them, or until the stream ends; the first group then pauses.
    """

    def __init__(self, requests: Iterable[GenerationRequest], longest: Sequence[int], most: int):
        """Read nothing yet.

        Args:
            requests: the stream. It is read again after it has ended, because requests may be
                added, such as prompts that are tried again.
            longest: maximum number of tokens in a prompt of each group, ascending; longer prompts
                go to the last group, whose engine refuses them.
            most: maximum number of requests that wait.
        """
        self._requests, self._longest, self._most = iter(requests), longest, most
        self._deferred: list[list[GenerationRequest]] = [[] for _ in longest]
        self._ahead: GenerationRequest | None = None  # read, but not handed out

    def pending(self) -> bool:
        """Return whether there are requests that no queue has handed out."""
        if self._ahead is None and self._longest:
            self._ahead = next(self._requests, None)
        return self._ahead is not None or any(self._deferred)

    def by_group(self) -> Iterator[Iterator[GenerationRequest]]:
        """Yield a queue for each group; exhaust each before you take the next one."""
        yield _FirstGroup(self._next_short)
        for group in range(1, len(self._longest)):
            waiting, self._deferred[group] = self._deferred[group], []
            yield iter(waiting)

    def _next_short(self) -> GenerationRequest | None:
        """Return the next request of the first group; None if there is none at the moment."""
        while sum(map(len, self._deferred)) < self._most:
            request, self._ahead = self._ahead or next(self._requests, None), None
            if request is None:
                return None
            group = bisect.bisect_left(self._longest[:-1], len(request.tokens))
            if group == 0:
                return request
            self._deferred[group].append(request)
        return None


class _FirstGroup(Iterator[GenerationRequest]):
    """An iterator that may have more items after it has ended, unlike a generator."""

    def __init__(self, read: Callable[[], GenerationRequest | None]):
        self._read = read

    def __next__(self) -> GenerationRequest:
        if (request := self._read()) is None:
            raise StopIteration
        return request
