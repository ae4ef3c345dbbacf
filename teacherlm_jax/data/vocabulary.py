"""Text to token ids and back, without loss: a SentencePiece model in a folder of its own.

A folder holds `sentencepiece.model` and `vocabulary.json` (type, size, digest, pad_id, eos_id).
"""

import hashlib
import io
import re
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from teacherlm_jax import files
from teacherlm_jax.errors import UserError

PAD_ID, EOS_ID, UNKNOWN_ID = 0, 1, 2

_MODEL = "sentencepiece.model"
DESCRIPTION = "vocabulary.json"
_SPACE_MARK = "\u2581"  # SentencePiece's sign for a space
_SAMPLED_TEXTS = 2_000_000  # texts that training looks at; more are sampled
_LONGEST_TEXT = 1 << 20  # bytes; the library would leave longer ones out


class Vocabulary:
    """A mapping between text and token ids.

    Attributes:
        size: number of ids.
        pad_id: the id of padding, always 0; no text contains it.
        eos_id: the id that ends a text.
        unknown_id: the id of what no other id can say; `decode` leaves it out.
        digest: `sha256:…` of the model file, which names the vocabulary in manifests.
    """

    def __init__(self, model: bytes, digest: str):
        """Wraps the bytes of a SentencePiece model; `load` and `train_sentencepiece` call this."""
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.digest = digest
        self.size: int = self._processor.vocab_size()
        self.pad_id: int = self._processor.pad_id()
        self.eos_id: int = self._processor.eos_id()
        self.unknown_id: int = self._processor.unk_id()
        self._special = {self.pad_id, self.eos_id, self.unknown_id}
        self._mark = [
            self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE_MARK.encode()
        ]

    @classmethod
    def load(cls, folder: Path | str) -> "Vocabulary":
        """Opens a vocabulary's folder; raises UserError when it is missing, foreign or damaged."""
        folder = Path(folder)
        description = files.read_json(folder / DESCRIPTION)
        if not isinstance(description, dict) or description.get("type") != "sentencepiece":
            raise UserError(f"{folder / DESCRIPTION}: describes no SentencePiece vocabulary")
        path = folder / _MODEL
        if not path.is_file():
            raise UserError(f"{path}: no such file; the vocabulary's folder is not complete")
        digest = files.file_digest(path)
        if digest != description.get("digest"):
            raise UserError(
                f"{path}: has the digest {digest}, {DESCRIPTION} beside it wants "
                f"{description.get('digest')}; copy or train the vocabulary again"
            )
        return cls(path.read_bytes(), digest)

    def save(self, folder: Path | str) -> None:
        """Writes the folder that `load` opens; the description comes last."""
        folder = Path(folder)
        files.write_bytes(folder / _MODEL, self._model)
        description = {
            "type": "sentencepiece",
            "size": self.size,
            "digest": self.digest,
            "pad_id": self.pad_id,
            "eos_id": self.eos_id,
        }
        files.write_json(folder / DESCRIPTION, description)

    def encode(self, text: str) -> list[int]:
        """Ids of a text; `decode` gives the same text back. Ends with no terminator."""
        # The library takes the space mark itself for a space, so it travels as its three bytes.
        first, *rest = text.split(_SPACE_MARK)
        ids = self._processor.encode(first)
        for part in rest:
            ids += self._mark + self._processor.encode(part)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; padding, terminators and the unknown id are left out wherever they stand."""
        return self._processor.decode([int(i) for i in ids if int(i) not in self._special])


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
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,
            model_type="bpe",
            byte_fallback=True,
            required_chars=string.ascii_letters + string.digits + string.punctuation,
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNKNOWN_ID,
            bos_id=-1,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            max_sentence_length=_LONGEST_TEXT,
            input_sentence_size=_SAMPLED_TEXTS,
            shuffle_input_sentence=True,
            num_threads=1,  # the result must not depend on the machine
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(str(error), size) from None
    return _saved(model.getvalue(), Path(folder))


def _saved(model: bytes, folder: Path) -> Vocabulary:
    vocabulary = Vocabulary(model, f"sha256:{hashlib.sha256(model).hexdigest()}")
    vocabulary.save(folder)
    return vocabulary


def _explained(error: str, size: int) -> UserError:
    too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", error)
    if too_small:
        return UserError(
            f"config.vocabulary.size: {size} is too small; the characters of these texts and the "
            f"bytes take {too_small[1]} pieces, so ask for more than that"
        )
    if "!sentences_.empty()" in error:
        return UserError("config.vocabulary: no text to train the vocabulary on")
    return UserError(f"config.vocabulary.size={size}: SentencePiece cannot train: {error}")
