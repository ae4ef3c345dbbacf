"""The texts in an engine's slots, as the host knows them."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from teacherlm_jax.generation.requests import Completion, GenerationRequest
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.slot_state import SlotState
from teacherlm_jax.sharding import on_host


class RunningTexts:
    """The requests in the slots, and the progress of their texts.

    Attributes:
        longest: tokens of the longest text, prompt included.
    """

    def __init__(
        self,
        slots: int,
        eos_id: int,
        stopped: Callable[[Sequence[int]], bool] | None,
        counts: SlotCounts,
    ):
        """Begin with free slots.

        Args:
            slots: number of slots.
            eos_id: id that ends a text.
            stopped: function that returns whether new tokens contain a stop string.
            counts: counts that prompts and steps are added to.
        """
        self._slots, self._eos_id, self._stopped = slots, eos_id, stopped
        self._counts = counts
        self._requests: dict[int, GenerationRequest] = {}  # by slot
        self._lengths: dict[int, int] = {}  # by slot: tokens of prompt and text
        self._checked: dict[int, int] = {}  # by slot: new tokens without a stop string

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._requests)

    @property
    def longest(self) -> int:
        """Tokens of the longest text, prompt included."""
        return max(self._lengths.values(), default=0)

    def free(self) -> list[int]:
        """Return the free slots."""
        return [slot for slot in range(self._slots) if slot not in self._requests]

    def mask(self) -> Bool[np.ndarray, " B"]:
        """Return whether each slot has a text."""
        mask = np.zeros(self._slots, bool)
        mask[list(self._requests)] = True
        return mask

    def add(self, slot: int, request: GenerationRequest) -> None:
        """Put a request into a free slot."""
        self._requests[slot] = request
        self._lengths[slot] = len(request.tokens) + 1
        self._checked[slot] = 0
        self._counts.prompts += 1

    def collect(self, slots: SlotState) -> list[Completion]:
        """Return the texts that have ended, whose slots are free from now on.

        Waits until the device has computed `slots`.
        """
        lengths, active = on_host(slots.cache.lengths), on_host(slots.active)
        before, self._lengths = (
            self._lengths,
            {slot: int(lengths[slot]) + 1 for slot in self._requests},
        )
        self._count([self._lengths[slot] - before[slot] for slot in self._requests])
        if self._stopped is None and all(active[slot] for slot in self._requests):
            return []
        rows, completions = on_host(slots.tokens), []
        for slot, request in list(self._requests.items()):
            tokens = rows[slot, len(request.tokens) : self._lengths[slot]].tolist()
            ended = self._ended(slot, tokens, bool(active[slot]))
            if ended is not None:
                completions.append(Completion(request.id, *ended))
                for table in (self._requests, self._lengths, self._checked):
                    del table[slot]
        return completions

    def _count(self, decoded: Sequence[int]) -> None:
        """Count the steps of one decoding, by the tokens that it added to each text.

        A text that was unfinished in the last step was so in all of them.
        """
        self._counts.slot_steps += self._slots * max(decoded, default=0)
        self._counts.busy_steps += sum(decoded)

    def _ended(
        self, slot: int, tokens: list[int], active: bool
    ) -> tuple[tuple[int, ...], str] | None:
        """Return the tokens of a text that has ended, and the reason; None if it is unfinished."""
        text = tokens[:-1] if tokens[-1] == self._eos_id else tokens
        if self._stopped is not None and self._stopped(text):
            first = self._checked[slot] + 1
            count = next(n for n in range(first, len(text) + 1) if self._stopped(text[:n]))
            return tuple(text[:count]), "stop"
        self._checked[slot] = len(text)
        if active:
            return None
        return tuple(text), "eos" if len(text) < len(tokens) else "length"
