"""Byte-level BPE, the tokenizer of BLOOM and OPT: a `tokenizer.json`, run by `tokenizers`.

A text is split into words and each word into bytes; pairs are then merged by rank (Radford et al.
2019, "Language Models are Unsupervised Multitask Learners"). Every byte has an id, so no text
contains an unknown token.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from teacherlm_jax.errors import UserError
from teacherlm_jax.tokenization import special_ids

_MOST_IDS = 1 << 22  # sixteen times the size of the largest published vocabulary
_PROBES = (
    "Q: It's 12,5 \u20ac\t(A) e\u0301 \u00e9 \u2581 \ufb01\n\n \u6f22\u5b57 \U0001f600 </S> \0",
    "  spaces at the ends, and  inside  ",
)


class ByteLevel:
    """A byte-level BPE tokenizer and the content of its file.

    Attributes:
        content: bytes of the file.
        name: name of the file, for messages.
        size: highest id plus one.
        vocabulary: id by token; a token is spelled with one character per byte.
        special_ids: ids that `encode` never returns: special tokens, and tokens that no merge
            produces.
        around: ids that the post-processor adds before and after a text.
        special: None, because other files define the special tokens.
    """

    kind = "byte_level_bpe"
    filename = "tokenizer.json"
    special = None

    def __init__(self, content: bytes, name: str):
        """Raise UserError if `content` is not a lossless byte-level BPE."""
        self.content, self.name = content, name
        described = _parsed(content, name)
        self._tokenizer = _tokenizer(content, name)
        self.vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size = max(self.vocabulary.values(), default=-1) + 1
        self._refuse_huge()
        self._refuse_missing_bytes()
        self._find_special(described)
        self._refuse_lossy_settings(described)
        self._refuse_lossy(described)
        self.around = self._around()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; a special token spelled in it is encoded as plain text."""
        return self._as_text(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, computed by threads of the library."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._as_text(encoding.ids) for encoding in encodings]

    def _as_text(self, ids: list[int]) -> list[int]:
        """Replace the id of a special token, which merges of plain text produced, by its bytes."""
        if self._bytes_of_special and not self._bytes_of_special.keys().isdisjoint(ids):
            return [part for id in ids for part in self._bytes_of_special.get(id, (id,))]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids that are not special."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def spelling(self, id: int) -> str:
        """Return the name of a special id, such as "</s>"; "<N>" for an id without a token."""
        return self._tokenizer.id_to_token(id) or f"<{id}>"

    def pretrained(self) -> bytes:
        """Return the `tokenizer.json` for transformers, which is the file itself."""
        return self.content

    def _find_special(self, described: Mapping[str, Any]) -> None:
        """Set the special ids, and the bytes of special tokens that merges can produce."""
        model, added = described["model"], described.get("added_tokens") or []
        merges = model["merges"]
        reachable = {(m.replace(" ", "", 1) if isinstance(m, str) else "".join(m)) for m in merges}
        reachable.update(pre_tokenizers.ByteLevel.alphabet())
        reachable.update(token["content"] for token in _plain(described))
        if model.get("ignore_merges"):
            reachable.update(model["vocab"])
        declared = {token["content"] for token in added if token["special"]}
        plain = reachable - declared
        text = {id for token, id in self.vocabulary.items() if token in plain}
        self.special_ids = frozenset(range(self.size)) - text
        self._bytes_of_special = {
            self.vocabulary[token]: tuple(self.vocabulary[byte] for byte in token)
            for token in declared & reachable
        }

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids that the post-processor adds before and after a text."""
        text = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a", add_special_tokens=True).ids
        starts = (i for i in range(len(whole)) if whole[i : i + len(text)] == text)
        start = next(starts, None)
        if start is None:
            raise UserError(
                f"{self.name}: the post_processor turns the ids {text} into {whole}; expected one "
                "that only adds ids before and after a text"
            )
        return tuple(whole[:start]), tuple(whole[start + len(text) :])

    def _refuse_missing_bytes(self) -> None:
        missing = [
            byte for byte in pre_tokenizers.ByteLevel.alphabet() if byte not in self.vocabulary
        ]
        if missing:
            raise UserError(
                f"{self.name}: not byte-level, {len(missing)} of the 256 bytes have no id; "
                "expected a byte-level BPE such as BLOOM's or OPT's"
            )

    def _refuse_huge(self) -> None:
        if self.size > _MOST_IDS:
            raise UserError(
                f"{self.name}: contains the id {self.size - 1}, expected ids below {_MOST_IDS}; "
                "copy the file again"
            )

    def _refuse_lossy_settings(self, described: Mapping[str, Any]) -> None:
        """Raise UserError for settings that change texts, or split them at random."""
        settings = [
            ("normalizer", described.get("normalizer")),
            ("model.dropout", described["model"].get("dropout")),
        ]
        for token in _plain(described):
            settings += [
                (f"{flag} of the added token {token['content']!r}", token.get(flag))
                for flag in ("lstrip", "rstrip", "single_word")
            ]
        for key, value in settings:
            if value:
                raise UserError(
                    f"{self.name}: {key} is {json.dumps(value)}, so encoding is not lossless; "
                    "expected a byte-level BPE without it, such as BLOOM's or OPT's"
                )

    def _refuse_lossy(self, described: Mapping[str, Any]) -> None:
        added = (f"a{token['content']}b" for token in _plain(described))
        for text in (*_PROBES, *added):
            decoded = self.decode(self.encode(text))
            if decoded != text:
                raise UserError(
                    f"{self.name}: not lossless, {text!r} is decoded as {decoded!r}; expected a "
                    "tokenizer that adds no space before a text, with added tokens in ASCII"
                )


def _plain(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the added tokens that are not special, which texts can contain."""
    return [token for token in described.get("added_tokens") or [] if not token["special"]]


def compose(
    vocabulary: Mapping[str, int],
    merges: Iterable[tuple[str, str]],
    special: Iterable[str],
    begin: Sequence[int],
) -> bytes:
    """Return a `tokenizer.json` like GPT-2's, made from `vocab.json` and `merges.txt`.

    The bytes depend on the arguments only, not on the version of `tokenizers`.

    Args:
        vocabulary: id by token, the content of `vocab.json`.
        merges: pairs of tokens, the content of `merges.txt`.
        special: tokens of the vocabulary to declare as special.
        begin: ids to add before every text.
    """
    settings = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    described = {
        "version": "1.0",
        "added_tokens": [
            special_ids.added_token(token, vocabulary[token])
            for token in sorted(set(special), key=vocabulary.__getitem__)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **settings},
        "post_processor": _template(vocabulary, begin),
        "decoder": {"type": "ByteLevel", **settings},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [list(merge) for merge in merges]},
    }
    return _to_bytes(described)


def complete(file: ByteLevel, begin: Sequence[int], special: Iterable[str]) -> ByteLevel:
    """Return `file` with the settings that transformers needs, or `file` itself if it has them.

    The result adds `begin` before a text and nothing after it. Tokens in `special` that no text
    contains are declared as special.
    """
    described = json.loads(file.content)
    added = described.get("added_tokens") or []
    known = {token["content"] for token in added}
    missing = [
        special_ids.added_token(token, file.vocabulary[token])
        for token in sorted(set(special) - known, key=file.vocabulary.__getitem__)
        if file.vocabulary[token] in file.special_ids
    ]
    if file.around == (tuple(begin), ()) and not missing:
        return file
    if file.around != (tuple(begin), ()):
        described["post_processor"] = _template(file.vocabulary, begin)
    described["added_tokens"] = sorted([*added, *missing], key=lambda token: token["id"])
    return ByteLevel(_to_bytes(described), file.name)


def _template(vocabulary: Mapping[str, int], begin: Sequence[int]) -> dict[str, Any] | None:
    """Return the post-processor that adds `begin` before a text, or None if `begin` is empty."""
    if not begin:
        return None
    tokens = {id: token for token, id in vocabulary.items() if id in begin}

    def part(sequence: str, type_id: int) -> list[dict[str, Any]]:
        before = [{"SpecialToken": {"id": tokens[id], "type_id": type_id}} for id in begin]
        return [*before, {"Sequence": {"id": sequence, "type_id": type_id}}]

    return {
        "type": "TemplateProcessing",
        "single": part("A", 0),
        "pair": part("A", 0) + part("B", 1),
        "special_tokens": {
            token: {"id": token, "ids": [id], "tokens": [token]} for id, token in tokens.items()
        },
    }


def _to_bytes(described: Mapping[str, Any]) -> bytes:
    return json.dumps(described, ensure_ascii=False).encode()


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    """Return the file as JSON; raise UserError unless it contains a BPE model."""
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deep
        raise UserError(f"{name}: not JSON: {error}; copy the file again") from None
    model = described.get("model") if isinstance(described, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("merges"), list):
        kind = model.get("type") if isinstance(model, dict) else None
        raise UserError(f"{name}: model type is {kind!r}, expected a byte-level BPE")
    return described


def _tokenizer(content: bytes, name: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # the library raises no more specific class
        raise UserError(f"{name}: cannot be read: {error}; copy the file again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
