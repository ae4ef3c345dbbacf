"""Text to token ids and back, without loss: a vocabulary in a folder of its own.

A folder holds one tokenizer's file, `sentencepiece.model` or `tokenizer.json`, and
`vocabulary.json`, which says what it is (type, size, digest) and which ids are special.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization import hf_folder, sentencepiece
from teacherlm_jax.tokenization.byte_level import ByteLevel
from teacherlm_jax.tokenization.sentencepiece import SentencePiece
from teacherlm_jax.tokenization.special_ids import SpecialIds

PAD_ID = 0
_SHOWN = 4  # names of files, in a message
DESCRIPTION = "vocabulary.json"


class TokenizerFile(Protocol):
    """What a kind of vocabulary is: a file of its kind, and how it cuts texts."""

    kind: str
    filename: str  # in a vocabulary's folder
    content: bytes
    name: str  # for messages
    size: int
    special_ids: frozenset[int]  # never in `encode`

    @property
    def special(self) -> SpecialIds | None:
        """Those with a part to play, where the file itself tells."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids that are not special."""

    def pretrained(self) -> bytes:
        """The `tokenizer.json` that gives transformers the same ids."""


_KINDS: dict[str, type[SentencePiece] | type[ByteLevel]] = {
    kind.kind: kind for kind in (SentencePiece, ByteLevel)
}


class Vocabulary:
    """A mapping between text and token ids.

    Attributes:
        kind: "sentencepiece" or "byte_level_bpe".
        size: number of ids.
        pad_id: the id of padding, always 0; no text contains it.
        eos_id: the id that ends a text.
        unknown_id: the id of what no other id can say, None where there is no such id.
        begin: the ids that stand before every text, none for most vocabularies.
        special_ids: all ids that `encode` never gives and `decode` leaves out.
        digest: `sha256:…` of the file, and of the special ids where the file does not tell them;
            names the vocabulary in manifests and checkpoints.
    """

    def __init__(self, file: TokenizerFile, special: SpecialIds):
        """`load`, `open_vocabulary` and `train_sentencepiece` call this.

        Raises UserError when a text could contain an id that has another part to play.
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
    def load(cls, folder: Path | str) -> "Vocabulary":
        """Opens a folder that `save` wrote; UserError when it is missing, foreign or damaged."""
        path = Path(folder) / DESCRIPTION
        if not path.exists():
            raise UserError(
                f"{path}: no such file; a vocabulary lies in every prepared mixture and in every "
                "run folder of a model: prepare the mixture again, or copy the run folder whole"
            )
        description = files.read_json(path)
        kind = str(description.get("type")) if isinstance(description, dict) else ""
        if kind not in _KINDS:
            raise UserError(
                f"{path}: describes no vocabulary: its type is {kind!r}, wanted "
                f"{' or '.join(map(repr, _KINDS))}"
            )
        model = Path(folder) / _KINDS[kind].filename
        if not model.is_file():
            raise UserError(f"{model}: no such file; the vocabulary's folder is not complete")
        file = _KINDS[kind](model.read_bytes(), str(model))
        vocabulary = cls(file, file.special or SpecialIds.from_json(description, str(path)))
        if vocabulary.digest != description.get("digest"):
            raise UserError(
                f"{model}: has the digest {vocabulary.digest}, {DESCRIPTION} beside it wants "
                f"{description.get('digest')}; copy or train the vocabulary again"
            )
        for key, value in vocabulary._description().items():
            if description.get(key, value) != value:
                raise UserError(
                    f"{path}: {key} is {description[key]}, {model.name} beside it says {value}; "
                    "copy or train the vocabulary again"
                )
        return vocabulary

    def save(self, folder: Path | str) -> None:
        """Writes the folder that `load` opens; the description comes last."""
        files.write_bytes(Path(folder) / self._file.filename, self._file.content)
        files.write_json(Path(folder) / DESCRIPTION, self._description())

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes what `save` does, and beside it what transformers' `AutoTokenizer` reads.

        It gives the ids `begin + encode(text)`, but for texts that spell a special token, which
        transformers takes for that token; for SentencePiece see `SentencePiece.pretrained`, too.
        """
        hf_folder.write(Path(folder), self._file.pretrained(), self._special)
        self.save(folder)

    def named_ids(self) -> dict[str, int]:
        """The ids of the special tokens by their names in transformers, such as "pad_token"."""
        return hf_folder.named_ids(self._file.pretrained(), self._special)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without what begins and ends it; `decode` gives the same text back.

        What reads like a special token is text like any other.
        """
        return self._file.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """What `encode` gives for each of `texts`, worked out side by side on all cores."""
        return self._file.encode_batch(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special ids are left out wherever they stand."""
        return self._file.decode([int(id) for id in ids if int(id) not in self.special_ids])

    def drawable(self) -> list[int]:
        """The ids that a text may consist of or end with, ascending."""
        return [id for id in range(self.size) if id == self.eos_id or id not in self.special_ids]

    def _description(self) -> dict[str, object]:
        identity = {"type": self.kind, "size": self.size, "digest": self.digest}
        return {**identity, "pad_id": self.pad_id, **self._special.to_json()}

    def _refuse_ambiguous(self) -> None:
        if self.pad_id not in self.special_ids:
            raise UserError(
                f"{self._file.name}: texts can contain the id 0, which fills the rows here; wanted "
                "a special token there, as BLOOM's and OPT's vocabularies have it, or a vocabulary "
                "trained with config.vocabulary.size"
            )
        for id in (self.eos_id, *self.begin):
            if id not in self.special_ids:
                raise UserError(
                    f"{self._file.name}: the id {id} is to begin or end texts, and is none of its "
                    "special ids; name a special token, one that no text gives"
                )


def _digest(file: TokenizerFile, special: SpecialIds) -> str:
    digest = f"sha256:{hashlib.sha256(file.content).hexdigest()}"
    if special == file.special:
        return digest
    told = [digest, special.eos_id, special.unknown_id, special.begin]
    return f"sha256:{hashlib.sha256(json.dumps(told).encode()).hexdigest()}"


def holds_vocabulary(folder: Path | str) -> bool:
    """Whether there is something in the folder that `open_vocabulary` would begin with."""
    return (Path(folder) / DESCRIPTION).exists() or hf_folder.holds_tokenizer(Path(folder))


def held_instead(folder: Path | str) -> str:
    """What a folder without a vocabulary has, for a message: above all files of other names."""
    if not Path(folder).is_dir():
        return "no such folder"
    names = sorted(path.name for path in Path(folder).iterdir())
    wanted = (Path(hf_folder.VOCABULARY).stem, Path(hf_folder.MERGES).stem, "tokenizer")
    near = [name for name in names if any(word in name for word in wanted)]
    return ", ".join((near or names)[:_SHOWN]) or "nothing"


def open_vocabulary(folder: Path | str) -> Vocabulary:
    """The vocabulary in a folder of ours, or in one of transformers with a byte-level BPE.

    Raises UserError when there is none, or it is damaged or of another kind.
    """
    if not holds_vocabulary(folder):
        raise UserError(
            f"{folder}: holds no vocabulary; wanted {DESCRIPTION}, {ByteLevel.filename}, or "
            f"{hf_folder.VOCABULARY} and {hf_folder.MERGES}, found {held_instead(folder)}"
        )
    if (Path(folder) / DESCRIPTION).exists():
        return Vocabulary.load(folder)
    return Vocabulary(*hf_folder.read(Path(folder)))


def train_sentencepiece(
    texts: Iterable[str], folder: Path | str, size: int, seed: int
) -> Vocabulary:
    """Trains a byte-pair vocabulary on `texts`, saves it in `folder` and returns it.

    A word that comes often, with the space before it, ends up as one piece; printable ASCII has a
    piece a character, so that option letters are one token; anything else falls back to bytes.
    `size` is a ceiling: texts with little in them give fewer pieces. The same texts, size and seed
    give the same bytes; the seed matters when there are more than two million texts, which are then
    sampled.

    Raises UserError when `size` is too small for the characters, or there is no text.
    """
    model = sentencepiece.train(texts, size, seed)
    file = SentencePiece(model, str(Path(folder) / SentencePiece.filename))
    vocabulary = Vocabulary(file, file.special)
    vocabulary.save(folder)
    return vocabulary
