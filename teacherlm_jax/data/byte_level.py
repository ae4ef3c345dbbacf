"""Byte-level BPE, as BLOOM and OPT have it: a `tokenizer.json`, run by `tokenizers`.

A text is cut into words, a word into bytes, and bytes are merged by rank (Radford et al. 2019,
"Language Models are Unsupervised Multitask Learners"). Each byte has an id, so nothing is unknown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from teacherlm_jax.data import special_ids
from teacherlm_jax.errors import UserError

_PROBES = (
    "Q: It's 12,5 \u20ac\t(A) e\u0301 \u00e9 \u2581 \ufb01\n\n \u6f22\u5b57 \U0001f600 </S> \0",
    "  spaces at the ends, and  inside  ",
)


class ByteLevel:
    """The file of a byte-level vocabulary.

    Attributes:
        content: of the file, byte for byte.
        name: of the file, for messages.
        size: the highest id plus one.
        vocabulary: id by token; a token is spelled with one character a byte.
        special_ids: the ids that `encode` never gives: special tokens, and those that no merge
            leads to.
        around: what the file puts before and after a text when it is asked to.
        special: None; other files tell which ids have a part to play.
    """

    kind = "byte_level_bpe"
    filename = "tokenizer.json"
    special = None

    def __init__(self, content: bytes, name: str):
        """Raises UserError when `content` is no byte-level BPE, or texts would not come back."""
        self.content, self.name = content, name
        described = _described(content, name)
        self._tokenizer = _tokenizer(content, name)
        self.vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size = max(self.vocabulary.values()) + 1
        self._refuse_missing_bytes()
        self._find_special(described)
        self._refuse_lossy()
        self.around = self._around()

    def encode(self, text: str) -> list[int]:
        """Ids of a text; the spelling of a special token is text like any other."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self._spelled and not self._spelled.keys().isdisjoint(ids):
            return [part for id in ids for part in self._spelled.get(id, (id,))]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids that are not special."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def pretrained(self) -> bytes:
        """The `tokenizer.json` for transformers: the file itself."""
        return self.content

    def _find_special(self, described: Mapping[str, Any]) -> None:
        """Which ids no text may give, and how to spell those that merges could lead to."""
        model, added = described["model"], described.get("added_tokens") or []
        merges = model["merges"]
        made = {(m.replace(" ", "", 1) if isinstance(m, str) else "".join(m)) for m in merges}
        made.update(pre_tokenizers.ByteLevel.alphabet())
        made.update(token["content"] for token in added if not token["special"])
        if model.get("ignore_merges"):
            made.update(model["vocab"])
        declared = {token["content"] for token in added if token["special"]}
        plain = made - declared
        text = {id for token, id in self.vocabulary.items() if token in plain}
        self.special_ids = frozenset(range(self.size)) - text
        self._spelled = {
            self.vocabulary[token]: tuple(self.vocabulary[byte] for byte in token)
            for token in declared & made
        }

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        text = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a", add_special_tokens=True).ids
        starts = (i for i in range(len(whole)) if whole[i : i + len(text)] == text)
        start = next(starts, None)
        if start is None:
            raise UserError(f"{self.name}: its post_processor makes {whole} of the ids {text}")
        return tuple(whole[:start]), tuple(whole[start + len(text) :])

    def _refuse_missing_bytes(self) -> None:
        missing = [
            byte for byte in pre_tokenizers.ByteLevel.alphabet() if byte not in self.vocabulary
        ]
        if missing:
            raise UserError(
                f"{self.name}: is not byte-level, {len(missing)} of the 256 bytes have no id; "
                "wanted a byte-level BPE such as BLOOM's and OPT's"
            )

    def _refuse_lossy(self) -> None:
        for text in _PROBES:
            back = self.decode(self.encode(text))
            if back != text:
                raise UserError(
                    f"{self.name}: does not give texts back as they were: {text!r} becomes "
                    f"{back!r}; wanted a tokenizer without normalizer and without a prefix space"
                )


def composed(
    vocabulary: Mapping[str, int],
    merges: Iterable[tuple[str, str]],
    special: Iterable[str],
    begin: Sequence[int],
) -> bytes:
    """A `tokenizer.json` of GPT-2's kind from the contents of `vocab.json` and `merges.txt`.

    `special` are tokens of the vocabulary to be declared special; `begin` are ids to be put before
    every text. The same contents give the same bytes, whatever the version of the library.
    """
    marks = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    described = {
        "version": "1.0",
        "added_tokens": [
            special_ids.declared(token, vocabulary[token])
            for token in sorted(set(special), key=vocabulary.__getitem__)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **marks},
        "post_processor": _template(vocabulary, begin),
        "decoder": {"type": "ByteLevel", **marks},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [list(merge) for merge in merges]},
    }
    return _dumped(described)


def beginning_with(file: ByteLevel, begin: Sequence[int]) -> ByteLevel:
    """The file as it should be for transformers: it puts `begin` before a text, nothing after."""
    if file.around == (tuple(begin), ()):
        return file
    described = json.loads(file.content)
    described["post_processor"] = _template(file.vocabulary, begin)
    return ByteLevel(_dumped(described), file.name)


def _template(vocabulary: Mapping[str, int], begin: Sequence[int]) -> dict[str, Any] | None:
    """The post-processor that puts `begin` before a text; None for none."""
    if not begin:
        return None
    tokens = {id: token for token, id in vocabulary.items() if id in begin}

    def part(sequence: str, type_id: int) -> list[dict[str, Any]]:
        marks = [{"SpecialToken": {"id": tokens[id], "type_id": type_id}} for id in begin]
        return [*marks, {"Sequence": {"id": sequence, "type_id": type_id}}]

    return {
        "type": "TemplateProcessing",
        "single": part("A", 0),
        "pair": part("A", 0) + part("B", 1),
        "special_tokens": {
            token: {"id": token, "ids": [id], "tokens": [token]} for id, token in tokens.items()
        },
    }


def _dumped(described: Mapping[str, Any]) -> bytes:
    return json.dumps(described, ensure_ascii=False).encode()


def _described(content: bytes, name: str) -> dict[str, Any]:
    """The file as JSON, as far as this module looks into it."""
    try:
        described = json.loads(content)
    except ValueError as error:  # no UTF-8, or no JSON
        raise UserError(f"{name}: not JSON: {error}; copy the file again") from None
    model = described.get("model") if isinstance(described, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("merges"), list):
        kind = model.get("type") if isinstance(model, dict) else None
        raise UserError(f"{name}: holds no BPE (model type {kind!r}); wanted a byte-level BPE")
    return described


def _tokenizer(content: bytes, name: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # the library raises just that for what it cannot read
        raise UserError(f"{name}: cannot be read: {error}; copy the file again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
