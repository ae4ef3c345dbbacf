"""The key of a reading page: who wrote which explanation.

A blind page must not reveal this to its reader. So the key is compressed and encoded, and gives the
sides only as the seed that shuffles them. Nobody reads it by accident; someone who decodes it can.
"""

import base64
import binascii
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Sequence

from teacherlm_jax.errors import UserError
from teacherlm_jax.report.reading.joined_samples import Key, RatedTeacher

LEFT, RIGHT = "left", "right"
SIDES = (LEFT, RIGHT)


@dataclasses.dataclass(frozen=True)
class PageKey:
    """The teachers of a page, and the seed by which their sides are shuffled.

    Attributes:
        teachers: one or two teachers.
        blind: whether the sides are shuffled.
        seed: seed of the sides.
    """

    teachers: tuple[RatedTeacher, ...]
    blind: bool
    seed: int

    def order(self, sample: Key) -> Sequence[int]:
        """Return the indices of the teachers of a sample, from left to right."""
        indices = range(len(self.teachers))
        return indices[::-1] if self.blind and _swapped(self.seed, sample) else indices

    def encoded(self) -> str:
        """Return the key as text, for `decoded`."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False)
        return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def decoded(text: str, place: str) -> PageKey:
    """Return the key of `PageKey.encoded`; UserError that names the place if it is damaged."""
    try:
        value = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
        teachers = tuple(RatedTeacher(**teacher) for teacher in value["teachers"])
        return PageKey(teachers, value["blind"], value["seed"])
    except (binascii.Error, zlib.error, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{place}: the key of the page is damaged ({error}); save the ratings from the page "
            "again"
        ) from None


def _swapped(seed: int, sample: Key) -> bool:
    """Return whether the first teacher of a sample is on the right: half of the samples."""
    source, id = sample
    digest = hashlib.sha256(f"sides\n{seed}\n{source}\n{id}".encode()).digest()
    return bool(digest[0] & 1)
