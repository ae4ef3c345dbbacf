"""Tokens that teachers on servers have used, their cost, and the limit of the cost."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.annotation.job.job_files import JobFolder
from teacherlm_jax.config import EndpointConfig
from teacherlm_jax.errors import MissingFile
from teacherlm_jax.storage import files

_MILLION = 1_000_000


class SpentTokens:
    """Tokens of finished texts and of requests in flight.

    Attributes:
        prompt_tokens: tokens of the prompts.
        new_tokens: tokens of the texts.
    """

    def __init__(self, settings: EndpointConfig, prompt_tokens: int = 0, new_tokens: int = 0):
        """Begin with the tokens of texts on disk."""
        self.prompt_tokens, self.new_tokens = prompt_tokens, new_tokens
        self._settings, self._reserved = settings, 0.0

    @property
    def cost(self) -> float:
        """Cost of the finished texts."""
        return cost(self._settings, self.prompt_tokens, self.new_tokens)

    def reserve(self, prompt_tokens: int, new_tokens: int) -> bool:
        """Reserve the cost of a request; return False if that may exceed the limit.

        The tokens are the maximum that the request can use. All requests in flight count.
        """
        most = cost(self._settings, prompt_tokens, new_tokens)
        limit = self._settings.max_cost
        if limit and self.cost + self._reserved + most > limit:
            return False
        self._reserved += most
        return True

    def release(self, prompt_tokens: int, new_tokens: int) -> None:
        """Release the reservation of a request that has ended."""
        self._reserved -= cost(self._settings, prompt_tokens, new_tokens)

    def add(self, prompt_tokens: int, new_tokens: int) -> None:
        """Count the tokens of an answer."""
        self.prompt_tokens += prompt_tokens
        self.new_tokens += new_tokens

    def to_json(self) -> dict[str, Any]:
        """Return tokens and cost as JSON; the cost is None without prices."""
        priced = self._settings.prompt_price or self._settings.completion_price
        return {
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "cost": self.cost if priced else None,
        }

    def __str__(self) -> str:
        tokens = f"{self.prompt_tokens:,} prompt tokens, {self.new_tokens:,} new tokens"
        priced = self._settings.prompt_price or self._settings.completion_price
        return f"{tokens}, cost {self.cost:,.4f}" if priced else tokens


def cost(settings: EndpointConfig, prompt_tokens: int, new_tokens: int) -> float:
    """Return the cost of these tokens; 0 without prices."""
    prompts = prompt_tokens * settings.prompt_price
    return (prompts + new_tokens * settings.completion_price) / _MILLION


def spent_on_disk(settings: EndpointConfig, folder: JobFolder, kinds: Sequence[str]) -> SpentTokens:
    """Return the tokens of all texts of some kinds that are on disk."""
    spent = SpentTokens(settings)
    for kind in kinds:
        counted = folder.counted(kind)
        for index, size in counted.items():
            spent.add(*_counted_tokens(folder.counts(kind, index, size)))
        for path in folder.uncounted(kind, counted):
            for row in _intact(path):
                spent.add(row["prompt_tokens"], row["new_tokens"])
    return spent


@functools.cache  # a file of counts does not change; on Beam, every batch needs those of all
def _counted_tokens(path: epath.Path) -> tuple[int, int]:
    """Return the tokens of the prompts and of the texts of a finished file of texts."""
    figures = files.read_json(path)
    return figures["prompt_tokens"], figures["new_tokens"]


def _intact(path: epath.Path) -> Iterable[Mapping[str, Any]]:
    """Yield the rows of a file of texts that have counts of tokens.

    If a partial file is gone, another process has completed it since it was listed.
    """
    try:
        rows = list(files.read_jsonl(path))
    except MissingFile:
        rows = list(files.read_jsonl(path.with_name(path.name.removesuffix(files.PARTIAL))))
    for _, row in rows:
        if not isinstance(row, files.MalformedRow) and all(
            type(row.get(key)) is int for key in ("prompt_tokens", "new_tokens")
        ):
            yield row
