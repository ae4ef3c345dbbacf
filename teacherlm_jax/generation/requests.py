"""Requests to continue prompts, their completions, and the queue of requests of an engine."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

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
    """

    id: str
    tokens: Sequence[int] | Int[np.ndarray, " T"]
    key: UInt32[np.ndarray, "2"]


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
