"""Errors of generators that TensorFlow reads, which it would turn into text in its own errors."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import tensorflow as tf

_Item = TypeVar("_Item")


class GeneratorErrors:
    """The first error of some generators, raised again where TensorFlow's results are read."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    def noting(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield items for TensorFlow, and note the error that ends them."""
        try:
            yield from items
        except Exception as error:
            self._first = self._first or error
            raise

    def raising(self, results: Iterable[_Item]) -> Iterator[_Item]:
        """Yield results of TensorFlow; raise a noted error in place of TensorFlow's."""
        try:
            yield from results
        except tf.errors.OpError as error:
            if self._first is None:
                raise
            raise self._first from error
