"""The ids that mean something other than text: what ends a text, and what stands before one."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.errors import UserError

NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")  # as transformers calls them


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """The special ids of a vocabulary that have a part to play.

    Attributes:
        eos_id: ends a text.
        unknown_id: stands for what no other id can say; None where there is no such id.
        begin: stand before every text, in training as in prompts.
        names: token by its name in transformers, keys of NAMES, for the way back to there.
    """

    eos_id: int
    unknown_id: int | None = None
    begin: tuple[int, ...] = ()
    names: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {
            "eos_id": self.eos_id,
            "unknown_id": self.unknown_id,
            "begin": list(self.begin),
            "special_tokens": dict(self.names),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> "SpecialIds":
        """The special ids in a JSON object of the file `where`; UserError when they are none."""
        checks: dict[str, Callable[[Any], bool]] = {
            "eos_id": _is_id,
            "unknown_id": lambda found: found is None or _is_id(found),
            "begin": lambda found: isinstance(found, list) and all(map(_is_id, found)),
            "special_tokens": _are_names,
        }
        for key, is_right in checks.items():
            if not is_right(value.get(key)):
                raise UserError(
                    f"{where}: {key} is {value.get(key)!r}, which is never written there; copy the "
                    "vocabulary again"
                )
        return cls(
            value["eos_id"], value["unknown_id"], tuple(value["begin"]), value["special_tokens"]
        )


def declared(token: str, id: int) -> dict[str, Any]:
    """A special token as a `tokenizer.json` lists it."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": token, **plain, "special": True}


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_names(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in NAMES and isinstance(token, str) for name, token in value.items()
    )
