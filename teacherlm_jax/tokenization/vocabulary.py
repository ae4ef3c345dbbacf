"""Vocabularies: lossless conversion of text to token ids and back.

The folder of a vocabulary contains a tokenizer's file, `sentencepiece.model` or `tokenizer.json`,
and `vocabulary.json` with its type, size, digest and special ids.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization import hf_folder, sentencepiece
from teacherlm_jax.tokenization.byte_level import ByteLevel
from teacherlm_jax.tokenization.sentencepiece import SentencePiece
from teacherlm_jax.tokenization.special_ids import SpecialIds

PAD_ID = 0
_SHOWN = 4  # number of file names in a message
DESCRIPTION = "vocabulary.json"


class TokenizerFile(Protocol):
    """A tokenizer and the content of its file; each kind of vocabulary implements this."""

    kind: str
    filename: str  # in a vocabulary's folder
    content: bytes
    name: str  # of the file, for messages
    size: int
    special_ids: frozenset[int]  # ids that `encode` never returns

    @property
    def special(self) -> SpecialIds | None:
        """Special ids by role; None if the file does not define them."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids that are not special."""

    def spelling(self, id: int) -> str:
        """Return the name of a special id, such as "</s>"."""

    def pretrained(self) -> bytes:
        """Return a `tokenizer.json` with which transformers computes the same ids."""


_KINDS: dict[str, type[SentencePiece] | type[ByteLevel]] = {
    kind.kind: kind for kind in (SentencePiece, ByteLevel)
}


class Vocabulary:
    """A lossless mapping between text and token ids.

    Attributes:
        kind: "sentencepiece" or "byte_level_bpe".
        size: number of ids.
        pad_id: id of padding, always 0; no text contains it.
        eos_id: id that ends a text.
        unknown_id: id of an unknown token; None if the vocabulary has none.
        begin: ids before every text; empty for most vocabularies.
        special_ids: ids that `encode` never returns and `decode` skips.
        digest: `sha256:…` of the file, and of the special ids if the file does not define them;
            identifies the vocabulary in manifests and checkpoints.
    """

    def __init__(self, file: TokenizerFile, special: SpecialIds):
        """Use `load`, `open_vocabulary` or `train_sentencepiece` instead.

        Raises UserError if a text could contain the id of padding, or one of `begin` or `eos_id`.
        """
        self._file, self._special = file, special
        self.kind = file.kind
        self.size = file.size
        self.pad_id = PAD_ID
        self.eos_id = special.eos_id
        self.unknown_id = special.unknown_id
        self.begin = special.begin
        self.special_ids = file.special_ids
        self._refuse_ambiguous()
        self.digest = _digest(file, special)

    @classmethod
    def load(cls, folder: epath.PathLike) -> "Vocabulary":
        """Open a folder that `save` wrote.

        Raises UserError if it is missing, damaged, or not a vocabulary.
        """
        path = StoragePath(folder) / DESCRIPTION
        if not path.exists():
            raise UserError(
                f"{path}: no such file; prepare the mixture again, or copy the whole run folder of "
                "the model, including its vocabulary"
            )
        description = files.read_json(path)
        kind = str(description.get("type")) if isinstance(description, dict) else ""
        if kind not in _KINDS:
            raise UserError(
                f"{path}: vocabulary type is {kind!r}, expected "
                f"{' or '.join(map(repr, _KINDS))}; copy the vocabulary again"
            )
        model = StoragePath(folder) / _KINDS[kind].filename
        if not model.is_file():
            raise UserError(f"{model}: no such file; copy the whole folder of the vocabulary again")
        file = _KINDS[kind](model.read_bytes(), str(model))
        vocabulary = cls(file, file.special or SpecialIds.from_json(description, str(path)))
        if vocabulary.digest != description.get("digest"):
            raise UserError(
                f"{model}: digest is {vocabulary.digest}, expected "
                f"{description.get('digest')} as in {DESCRIPTION}; copy or train the vocabulary "
                "again"
            )
        for key, value in vocabulary._description().items():
            if description.get(key, value) != value:
                raise UserError(
                    f"{path}: {key} is {description[key]}, expected {value} as in {model.name}; "
                    "copy or train the vocabulary again"
                )
        return vocabulary

    def save(self, folder: epath.PathLike) -> None:
        """Write the folder that `load` opens, with the description last."""
        files.write_bytes(StoragePath(folder) / self._file.filename, self._file.content)
        files.write_json(StoragePath(folder) / DESCRIPTION, self._description())

    def save_pretrained(self, folder: epath.PathLike) -> None:
        """Write the files of `save` and those that `AutoTokenizer` of transformers reads.

        The tokenizer there returns `begin + encode(text)`, except for texts that spell a special
        token, which transformers encodes as that token. `SentencePiece.pretrained` lists further
        exceptions.
        """
        hf_folder.write(StoragePath(folder), self._file.pretrained(), self._special)
        self.save(folder)

    def named_ids(self) -> dict[str, int]:
        """Return the id of each special token by its name in transformers, such as "pad_token"."""
        return hf_folder.named_ids(self._file.pretrained(), self._special)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without `begin` and `eos_id`; `decode` returns the same text.

        A special token spelled in the text is encoded as plain text.
        """
        return self._file.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, as `encode` does, computed in parallel on all cores."""
        return self._file.encode_batch(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, skipping special ids."""
        return self._file.decode([int(id) for id in ids if int(id) not in self.special_ids])

    def spelled(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, with special ids as their names, such as "</s>"."""
        runs = itertools.groupby(map(int, ids), key=self.special_ids.__contains__)
        return "".join(
            "".join(map(self._file.spelling, run)) if special else self._file.decode(list(run))
            for special, run in runs
        )

    def drawable(self) -> list[int]:
        """Return the ids that generation may sample, ascending: those of text, and `eos_id`."""
        return [id for id in range(self.size) if id == self.eos_id or id not in self.special_ids]

    def _description(self) -> dict[str, object]:
        identity = {"type": self.kind, "size": self.size, "digest": self.digest}
        return {**identity, "pad_id": self.pad_id, **self._special.to_json()}

    def _refuse_ambiguous(self) -> None:
        if self.pad_id not in self.special_ids:
            raise UserError(
                f"{self._file.name}: texts can contain the id 0, which is used for padding; "
                "expected a special token at id 0, as in BLOOM's and OPT's vocabularies, or train "
                "a vocabulary with config.vocabulary.size"
            )
        for id in (self.eos_id, *self.begin):
            if id not in self.special_ids:
                raise UserError(
                    f"{self._file.name}: texts can contain the id {id}, which begins or ends a "
                    "text; name a special token as bos_token and eos_token"
                )


def _digest(file: TokenizerFile, special: SpecialIds) -> str:
    digest = f"sha256:{hashlib.sha256(file.content).hexdigest()}"
    if special == file.special:
        return digest
    parts = [digest, special.eos_id, special.unknown_id, special.begin]
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def holds_vocabulary(folder: epath.PathLike) -> bool:
    """Return whether the folder contains a vocabulary that `open_vocabulary` can open."""
    return (StoragePath(folder) / DESCRIPTION).exists() or hf_folder.holds_tokenizer(
        StoragePath(folder)
    )


def folder_content(folder: epath.PathLike) -> str:
    """Return a few file names of a folder without a vocabulary, similar names first."""
    if not StoragePath(folder).is_dir():
        return "no such folder"
    names = sorted(path.name for path in StoragePath(folder).iterdir())
    words = (Path(hf_folder.VOCABULARY).stem, Path(hf_folder.MERGES).stem, "tokenizer")
    similar = [name for name in names if any(word in name for word in words)]
    return ", ".join((similar or names)[:_SHOWN]) or "nothing"


def open_vocabulary(folder: epath.PathLike) -> Vocabulary:
    """Open a vocabulary that `save` wrote, or a byte-level BPE in the format of transformers.

    Raises UserError if there is none, or it is damaged or of another kind.
    """
    if not holds_vocabulary(folder):
        raise UserError(
            f"{folder}: no vocabulary in this folder; expected {DESCRIPTION}, "
            f"{ByteLevel.filename}, or {hf_folder.VOCABULARY} and {hf_folder.MERGES}, found "
            f"{folder_content(folder)}"
        )
    if (StoragePath(folder) / DESCRIPTION).exists():
        return Vocabulary.load(folder)
    return Vocabulary(*hf_folder.read(StoragePath(folder)))


def train_sentencepiece(
    texts: Iterable[str], folder: epath.PathLike, size: int, seed: int
) -> Vocabulary:
    """Train a byte-pair vocabulary on `texts`, save it in `folder` and return it.

    A frequent word becomes one piece, together with the space before it. Each printable ASCII
    character has a piece, so that option letters are one token. All other text falls back to bytes.
    The same texts, size and seed give the same bytes.

    Args:
        texts: training texts; more than two million are sampled.
        folder: the folder to save the vocabulary in.
        size: maximum number of pieces; texts with few different words give fewer.
        seed: seed of the sampling.

    Raises:
        UserError: `size` is too small for the characters of the texts, or there is no text.
    """
    model = sentencepiece.train(texts, size, seed)
    file = SentencePiece(model, str(StoragePath(folder) / SentencePiece.filename))
    vocabulary = Vocabulary(file, file.special)
    vocabulary.save(folder)
    return vocabulary
