"""Byte-level BPE, as BLOOM and OPT have it: a `tokenizer.json`, run by `tokenizers`.

A text is cut into words, a word into bytes, and bytes are merged by rank (Radford et al. 2019,
"Language Models are Unsupervised Multitask Learners"). Each byte has an id, so nothing is unknown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from teacherlm_jax.errors import UserError
from teacherlm_jax.tokenization import special_ids

_MOST_IDS = 1 << 22  # sixteen times what any published vocabulary has
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
        self.size = max(self.vocabulary.values(), default=-1) + 1
        self._refuse_huge()
        self._refuse_missing_bytes()
        self._find_special(described)
        self._refuse_lossy_settings(described)
        self._refuse_lossy(described)
        self.around = self._around()

    def encode(self, text: str) -> list[int]:
        """Ids of a text; the spelling of a special token is text like any other."""
        return self._as_text(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, by threads of the library."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._as_text(encoding.ids) for encoding in found]

    def _as_text(self, ids: list[int]) -> list[int]:
        """The ids with those of special tokens spelled out, which merges alone have led to."""
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
        made.update(token["content"] for token in _plain(described))
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

    def _refuse_huge(self) -> None:
        if self.size > _MOST_IDS:
            raise UserError(
                f"{self.name}: has the id {self.size - 1}, wanted ids below {_MOST_IDS}; copy the "
                "file again"
            )

    def _refuse_lossy_settings(self, described: Mapping[str, Any]) -> None:
        """UserError for what changes texts on their way to ids, or cuts them at random."""
        found = [
            ("normalizer", described.get("normalizer")),
            ("model.dropout", described["model"].get("dropout")),
        ]
        for token in _plain(described):
            found += [
                (f"{flag} of the added token {token['content']!r}", token.get(flag))
                for flag in ("lstrip", "rstrip", "single_word")
            ]
        for key, value in found:
            if value:
                raise UserError(
                    f"{self.name}: {key} is {json.dumps(value)}, with which a text and its ids do "
                    "not always give each other; wanted a byte-level BPE without it, such as "
                    "BLOOM's and OPT's"
                )

    def _refuse_lossy(self, described: Mapping[str, Any]) -> None:
        added = (f"a{token['content']}b" for token in _plain(described))
        for text in (*_PROBES, *added):
            back = self.decode(self.encode(text))
            if back != text:
                raise UserError(
                    f"{self.name}: does not give texts back as they were: {text!r} becomes "
                    f"{back!r}; wanted one that puts no space before texts, and whose added tokens "
                    "are ASCII"
                )


def _plain(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The added tokens that texts can contain."""
    return [token for token in described.get("added_tokens") or [] if not token["special"]]


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


def completed(file: ByteLevel, begin: Sequence[int], special: Iterable[str]) -> ByteLevel:
    """The file as it should be for transformers; the same one where it is so already.

    It puts `begin` before a text and nothing after, and declares the tokens `special`, those of
    them that no text gives.
    """
    described = json.loads(file.content)
    added = described.get("added_tokens") or []
    known = {token["content"] for token in added}
    missing = [
        special_ids.declared(token, file.vocabulary[token])
        for token in sorted(set(special) - known, key=file.vocabulary.__getitem__)
        if file.vocabulary[token] in file.special_ids
    ]
    if file.around == (tuple(begin), ()) and not missing:
        return file
    if file.around != (tuple(begin), ()):
        described["post_processor"] = _template(file.vocabulary, begin)
    described["added_tokens"] = sorted([*added, *missing], key=lambda token: token["id"])
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
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or too deep
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
