"""Special ids of a vocabulary: the end of a text, unknown tokens, and the prefix of every text."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.errors import UserError

NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")  # as transformers calls them


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Special ids of a vocabulary, by role.

    Attributes:
        eos_id: id that ends a text.
        unknown_id: id of an unknown token; None if the vocabulary has none.
        begin: ids before every text, in training and in prompts.
        names: token by its name in transformers (a key of NAMES), for export.
    """

    eos_id: int
    unknown_id: int | None = None
    begin: tuple[int, ...] = ()
    names: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` reads."""
        return {
            "eos_id": self.eos_id,
            "unknown_id": self.unknown_id,
            "begin": list(self.begin),
            "special_tokens": dict(self.names),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], file: str) -> "SpecialIds":
        """Return the special ids in a JSON object; raise UserError that names `file` if invalid."""
        checks: dict[str, tuple[Callable[[Any], bool], str]] = {
            "eos_id": (_is_id, "an id"),
            "unknown_id": (lambda id: id is None or _is_id(id), "an id or null"),
            "begin": (
                lambda ids: isinstance(ids, list) and all(map(_is_id, ids)),
                "a list of ids",
            ),
            "special_tokens": (_are_names, f"tokens by name ({', '.join(NAMES)})"),
        }
        for key, (is_valid, expected) in checks.items():
            if not is_valid(value.get(key)):
                raise UserError(
                    f"{file}: {key} is {value.get(key)!r}, expected {expected}; copy the "
                    "vocabulary again"
                )
        return cls(
            value["eos_id"], value["unknown_id"], tuple(value["begin"]), value["special_tokens"]
        )


def added_token(token: str, id: int) -> dict[str, Any]:
    """Return the entry of a special token in the `added_tokens` of a `tokenizer.json`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": token, **flags, "special": True}


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_names(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in NAMES and isinstance(token, str) for name, token in value.items()
    )
