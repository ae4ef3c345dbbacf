"""Requests for explanations and for retries of rejected ones, each with its own key."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import UInt32

from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key


def attempt_key(seed: int, prompt: ExplanationPrompt, attempt: int) -> UInt32[np.ndarray, "2"]:
    """Return the random key of an attempt, from 1; the key of attempt 1 contains no number."""
    kind = prompt.kind if attempt == 1 else f"{prompt.kind}, attempt {attempt}"
    return request_key(seed, prompt.sample.id, kind)


class PromptRequests(Iterator[GenerationRequest]):
    """The requests of a stream of prompts, and of prompts that are tried again.

    The iterator stops while no prompt is available, and resumes once one is tried again. Prompts of
    a sample stay together, because their common prefix is read once. A retried prompt is read by
    itself, so that its text does not depend on the other retries at that time.
    """

    def __init__(
        self,
        prompts: Iterable[ExplanationPrompt],
        seed: int,
        members: int,
        adapters: Mapping[str, int],
    ):
        """Read nothing yet.

        Args:
            prompts: distinct prompts, those of a sample one after the other.
            seed: seed of the sampling.
            members: maximum number of prompts of a sample.
            adapters: index of the adapter that writes each kind; 0 for other kinds.
        """
        self._prompts, self._seed, self._members = iter(prompts), seed, members
        self._adapters = adapters
        self._ahead: ExplanationPrompt | None = None  # read, but not handed out
        self._sample = ""  # id of that of the last prompt
        self._again: deque[tuple[ExplanationPrompt, int]] = deque()

    def __next__(self) -> GenerationRequest:
        prompt = self._ahead = self._ahead or next(self._prompts, None)
        if self._again and (prompt is None or prompt.sample.id != self._sample):
            again, attempt = self._again.popleft()
            shared = again.shared if self._members == 1 else 0
            return self._request(again, attempt, shared)
        if prompt is None:
            raise StopIteration
        self._ahead, self._sample = None, prompt.sample.id
        return self._request(prompt, 1, prompt.shared)

    def again(self, prompt: ExplanationPrompt, attempt: int) -> None:
        """Try a prompt again whose request was handed out before."""
        self._again.append((prompt, attempt))

    def _request(self, prompt: ExplanationPrompt, attempt: int, shared: int) -> GenerationRequest:
        key = attempt_key(self._seed, prompt, attempt)
        adapter = self._adapters.get(prompt.kind, 0)
        return GenerationRequest(prompt.id, prompt.tokens, key, prefix=shared, adapter=adapter)
