"""SentencePiece vocabularies, for models that are trained here (Kudo and Richardson 2018)."""

import io
import json
import re
import string
from collections.abc import Iterable, Iterator, Sequence

import sentencepiece

from teacherlm_jax.errors import UserError
from teacherlm_jax.tokenization.special_ids import SpecialIds, added_token

PAD_ID, EOS_ID, UNKNOWN_ID = 0, 1, 2

_SPACE_MARK = "\u2581"  # SentencePiece's symbol for a space
_SAMPLED_TEXTS = 2_000_000  # maximum number of texts to train on, sampled from all texts
_REQUIRED = string.ascii_letters + string.digits + string.punctuation  # each gets its own piece
_LONGEST_TEXT = 1 << 20  # bytes; the library skips longer texts


class SentencePiece:
    """A SentencePiece tokenizer and the content of its file.

    Attributes:
        content: bytes of the file.
        name: name of the file, for messages.
        size: number of ids.
        special_ids: ids that `encode` never returns.
        special: the role of each special id.
    """

    kind = "sentencepiece"
    filename = "sentencepiece.model"

    def __init__(self, content: bytes, name: str):
        """Raise UserError if `content` is not a SentencePiece model."""
        self.content, self.name = content, name
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise UserError(
                f"{name}: not a SentencePiece model: {error}; copy the file again"
            ) from None
        self._processor = processor
        self.size: int = processor.vocab_size()
        ids = {"eos": processor.eos_id(), "unk": processor.unk_id(), "pad": processor.pad_id()}
        self.special_ids = frozenset(ids.values())
        names = {f"{name}_token": processor.id_to_piece(id) for name, id in ids.items()}
        self.special = SpecialIds(ids["eos"], ids["unk"], names=names)
        self._mark = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE_MARK.encode()]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        # The library decodes the space mark to a space, so the mark is encoded as its three bytes.
        first, *rest = text.split(_SPACE_MARK)
        ids = self._processor.encode(first)
        for part in rest:
            ids += self._mark + self._processor.encode(part)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, computed by threads of the library."""
        if any(_SPACE_MARK in text for text in texts):
            return [self.encode(text) for text in texts]
        return self._processor.encode(list(texts))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids that are not special."""
        return self._processor.decode(list(ids))

    def spelling(self, id: int) -> str:
        """Return the name of a special id, such as "</s>"."""
        return self._processor.id_to_piece(id)

    def pretrained(self) -> bytes:
        """Return a `tokenizer.json` with which transformers computes the same ids.

        The ids differ for a text with U+2581, which means a space there, and, as with every
        tokenizer in transformers, for a text that spells a special token. If two overlapping pairs
        of pieces merge to the same piece, SentencePiece merges the left pair and `tokenizers` the
        pair that is listed first; such a text would also differ, but no example is known.
        """
        pieces = [self._processor.id_to_piece(id) for id in range(self.size)]
        described = {
            "version": "1.0",
            "added_tokens": [added_token(pieces[id], id) for id in sorted(self.special_ids)],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE_MARK},
            "pre_tokenizer": None,
            "post_processor": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": _SPACE_MARK}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            "model": {
                "type": "BPE",
                "unk_token": pieces[self._processor.unk_id()],
                "fuse_unk": True,
                "byte_fallback": True,
                "vocab": {piece: id for id, piece in enumerate(pieces)},
                "merges": list(self._merges()),
            },
        }
        return json.dumps(described, ensure_ascii=False).encode()

    def _merges(self) -> Iterator[list[str]]:
        """Yield the pairs of pieces that merge to a piece, best score first."""
        model = self._processor
        scores = {
            model.id_to_piece(id): model.get_score(id)
            for id in range(self.size)
            if not (id in self.special_ids or model.is_byte(id))
        }
        for piece in sorted(scores, key=lambda piece: -scores[piece]):
            for middle in range(1, len(piece)):
                if piece[:middle] in scores and piece[middle:] in scores:
                    yield [piece[:middle], piece[middle:]]


def train(texts: Iterable[str], size: int, seed: int) -> bytes:
    """Return the bytes of a model trained on `texts`; see `vocabulary.train_sentencepiece`."""
    model, reader = io.BytesIO(), _TextReader(texts)
    sentencepiece.set_random_generator_seed(seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(reader),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,
            model_type="bpe",
            byte_fallback=True,
            required_chars=_REQUIRED,
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
        raise (reader.failure or _explained(str(error), size)) from None
    return model.getvalue()


class _TextReader:
    """Iterable of texts that keeps an error of reading them, which the library would replace.

    Attributes:
        failure: the exception that reading raised, or None.
    """

    def __init__(self, texts: Iterable[str]):
        self._texts = texts
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        unseen, count = set(_REQUIRED), 0
        try:
            for text in self._texts:
                unseen.difference_update(text)
                count += bool(text)
                yield text
        except BaseException as error:
            self.failure = error
            raise
        # Before 0.2.3, the trainer aborts the process if no sampled text contains a required
        # character.
        if count > _SAMPLED_TEXTS:
            yield from _REQUIRED * (20 * count // _SAMPLED_TEXTS)
        elif count:
            yield from sorted(unseen)


def _explained(error: str, size: int) -> UserError:
    """Return the UserError for an error message of the trainer."""
    too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", error)
    if too_small:
        return UserError(
            f"config.vocabulary.size: {size} is too small; the characters of these texts and the "
            f"bytes need {too_small[1]} pieces, so choose a larger size"
        )
    if "!sentences_.empty()" in error:
        return UserError(
            "config.vocabulary: no text to train the vocabulary on; name sources that contain text"
        )
    return UserError(f"config.vocabulary.size={size}: SentencePiece cannot train: {error}")
