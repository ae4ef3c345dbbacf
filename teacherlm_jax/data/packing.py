"""Packing: several texts in one row of fixed length.

Only a text that is longer than a row is truncated or split; see TOO_LONG. In a row, each text has
its own segment id and positions from 0, so that attention can keep the texts apart (TeacherLM,
arXiv 2310.19019, section on training).
"""

import bisect
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int, Int32, Integer

from teacherlm_jax.data.prompts import Piece
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.tokenization.vocabulary import Vocabulary

LOSSES: dict[str, frozenset[str]] = {  # roles of the pieces whose tokens are trained
    "text": frozenset({"question", "answer", "trigger", "explanation"}),
    "answer": frozenset({"answer"}),
    "answer_and_explanations": frozenset({"answer", "explanation"}),
}

FIELDS = ("question", "answer", *KINDS)  # fields that Encoded.field_tokens counts

_WINDOW = 512  # rows that are filled at the same time
_NUMBER = np.dtype("<u4")  # dtype of lengths and tokens on disk


@dataclasses.dataclass(frozen=True)
class Encoded:
    """One text as tokens, with the tokens that begin and end it, and its loss mask.

    `field_tokens` has the number of tokens from each of FIELDS; empty: not counted.
    """

    tokens: Sequence[int] | Int32[np.ndarray, " T"]
    loss_mask: Sequence[bool] | Bool[np.ndarray, " T"]
    field_tokens: Sequence[int] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of T tokens.

    Attributes:
        tokens: ids; padding is 0, at the end.
        segment_ids: 1 for the first text, 2 for the second …; 0 for padding.
        positions: from 0 in each text; 0 for padding.
        loss_mask: True for trained tokens.
    """

    tokens: Int32[np.ndarray, " T"]
    segment_ids: Int32[np.ndarray, " T"]
    positions: Int32[np.ndarray, " T"]
    loss_mask: Bool[np.ndarray, " T"]


def encode_pieces(pieces: Sequence[Piece], vocabulary: Vocabulary, loss: str) -> Encoded:
    """Return the tokens of a text: `begin` ids, each piece tokenized separately, and `eos`.

    `loss` is a key of LOSSES. The `begin` ids are not trained; `eos` is if the last piece is.
    """
    return encode_texts([pieces], vocabulary, loss)[0]


def encode_texts(
    texts: Sequence[Sequence[Piece]], vocabulary: Vocabulary, loss: str
) -> list[Encoded]:
    """Return `encode_pieces` of many texts; repeated pieces are tokenized once."""
    ids = encode_distinct(texts, vocabulary)
    return [_assembled_text(pieces, ids, vocabulary, LOSSES[loss]) for pieces in texts]


def encode_distinct(
    texts: Iterable[Sequence[Piece]], vocabulary: Vocabulary
) -> dict[str, list[int]]:
    """Return the token ids of each distinct piece of many texts, by the text of the piece."""
    distinct = list(dict.fromkeys(piece.text for pieces in texts for piece in pieces))
    return dict(zip(distinct, vocabulary.encode_batch(distinct), strict=True))


def _assembled_text(
    pieces: Sequence[Piece],
    ids: dict[str, list[int]],
    vocabulary: Vocabulary,
    roles: frozenset[str],
) -> Encoded:
    tokens = [*vocabulary.begin]
    mask = [False] * len(tokens)
    counts = dict.fromkeys(FIELDS, 0)
    for piece in pieces:
        piece_ids = ids[piece.text]
        tokens += piece_ids
        mask += [piece.role in roles] * len(piece_ids)
        field = piece.kind or piece.role
        if field in counts:
            counts[field] += len(piece_ids)
    tokens.append(vocabulary.eos_id)
    mask.append(pieces[-1].role in roles)
    return Encoded(tokens, mask, tuple(counts.values()))


def fit(text: Encoded, longest: int, too_long: str, begin: int = 0) -> tuple[Encoded, ...]:
    """Return the text if it has at most `longest` tokens, else apply a policy of TOO_LONG.

    `too_long` is a key of TOO_LONG, `begin` the number of ids that begin every text of the
    vocabulary (fewer than `longest`). Resulting texts have at most `longest` tokens, and their
    `field_tokens` are not counted.
    """
    if len(text.tokens) <= longest:
        return (text,)
    return TOO_LONG[too_long](text, longest, begin)


def _drop(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    return ()


def _keep_first(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    return (Encoded(text.tokens[:longest], text.loss_mask[:longest]),)


def _keep_last(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    return (_from(text, len(text.tokens) - (longest - begin), len(text.tokens), begin),)


def _split(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    step = longest - begin
    starts = range(begin, len(text.tokens), step)
    return tuple(_from(text, start, start + step, begin) for start in starts)


# Policies for a text that is too long. Each part is a segment, so it starts with the `begin` ids,
# as a model expects; only a part that reaches the end of the text has `eos`.
TOO_LONG: dict[str, Callable[[Encoded, int, int], tuple[Encoded, ...]]] = {
    "drop": _drop,  # no text
    "keep_first": _keep_first,  # its first tokens, without `eos`
    "keep_last": _keep_last,  # its last tokens, as the authors' code does
    "split": _split,  # several texts one after another, with all tokens
}


def has_trained_token(text: Encoded) -> bool:
    """Return whether a text has a trained token after the first, which has no context."""
    return bool(np.any(text.loss_mask[1:]))


def _from(text: Encoded, start: int, end: int, begin: int) -> Encoded:
    """Return the tokens [start, end) of a text, after the `begin` ids."""
    tokens, mask = np.asarray(text.tokens, np.int32), np.asarray(text.loss_mask, bool)
    return Encoded(
        np.concatenate([tokens[:begin], tokens[start:end]]),
        np.concatenate([mask[:begin], mask[start:end]]),
    )


def pack(texts: Iterable[Encoded], length: int, window: int = _WINDOW) -> Iterator[PackedRow]:
    """Yield rows of `length` tokens that are filled with whole texts, best fit first.

    Each text goes to the open row in which it leaves the least room. If it fits in none, a row is
    opened; if `window` rows are open already, the fullest one is finished first. The result depends
    only on the texts and their order. Raises ValueError for a text that is too long for a row.
    """
    open_rows: list[tuple[int, int]] = []  # (room left, serial number), sorted
    contents: dict[int, list[Encoded]] = {}
    opened = 0
    for text in texts:
        size = len(text.tokens)
        if not 0 < size <= length:
            raise ValueError(f"a text of {size} tokens does not fit rows of {length}")
        index = bisect.bisect_left(open_rows, (size, -1))
        if index < len(open_rows):
            room, serial = open_rows.pop(index)
        else:
            if len(open_rows) == window:
                yield _row(contents.pop(open_rows.pop(0)[1]), length)
            room, serial = length, opened
            contents[serial] = []
            opened += 1
        contents[serial].append(text)
        if room == size:
            yield _row(contents.pop(serial), length)
        else:
            bisect.insort(open_rows, (room - size, serial))
    for serial in sorted(contents):
        yield _row(contents[serial], length)


def texts(row: PackedRow) -> list[Int32[np.ndarray, " _"]]:
    """Return the tokens of each text in a row, without padding."""
    sizes = np.bincount(row.segment_ids)[1:]
    return np.split(row.tokens[: sizes.sum()], np.cumsum(sizes)[:-1])


def to_bytes(row: PackedRow) -> bytes:
    """Return a row as a record: number of texts, lengths, tokens, and the loss mask as bits."""
    sizes = np.bincount(row.segment_ids)[1:]
    used = int(sizes.sum())
    head = np.concatenate([[len(sizes)], sizes, row.tokens[:used]]).astype(_NUMBER)
    return head.tobytes() + np.packbits(row.loss_mask[:used]).tobytes()


def from_bytes(record: bytes, length: int) -> PackedRow:
    """Return the row of `length` tokens of a record; raise ValueError for invalid bytes."""
    if len(record) < _NUMBER.itemsize:
        raise ValueError("a record without a header")
    count = int(np.frombuffer(record, _NUMBER, 1)[0])
    if len(record) < _NUMBER.itemsize * (1 + count):
        raise ValueError(f"a record of {len(record)} bytes with {count} texts")
    sizes = np.frombuffer(record, _NUMBER, count, _NUMBER.itemsize).astype(np.int64)
    used = int(sizes.sum())
    start = _NUMBER.itemsize * (1 + count)
    end = start + _NUMBER.itemsize * used
    if used > length or len(record) != end + (used + 7) // 8:
        raise ValueError(f"a record of {len(record)} bytes with {used} tokens, rows have {length}")
    tokens = np.frombuffer(record, _NUMBER, used, start)
    bits = np.frombuffer(record, np.uint8, offset=end)
    return _assembled(sizes, tokens, np.unpackbits(bits, count=used).astype(bool), length)


def _row(texts: Sequence[Encoded], length: int) -> PackedRow:
    sizes = np.array([len(text.tokens) for text in texts])
    tokens = np.concatenate([np.asarray(text.tokens, np.int32) for text in texts])
    mask = np.concatenate([np.asarray(text.loss_mask, bool) for text in texts])
    return _assembled(sizes, tokens, mask, length)


def _assembled(
    sizes: Int[np.ndarray, " texts"],
    tokens: Integer[np.ndarray, " used"],
    mask: Bool[np.ndarray, " used"],
    length: int,
) -> PackedRow:
    """Return a padded row from the lengths of texts, and their concatenated tokens and loss."""
    used = len(tokens)
    starts = np.cumsum(sizes) - sizes
    values = {
        "tokens": tokens,
        "segment_ids": np.repeat(np.arange(1, len(sizes) + 1), sizes),
        "positions": np.arange(used) - np.repeat(starts, sizes),
    }
    padded = {name: np.zeros(length, np.int32) for name in values}
    for name, value in values.items():
        padded[name][:used] = value
    loss_mask = np.zeros(length, bool)
    loss_mask[:used] = mask
    return PackedRow(**padded, loss_mask=loss_mask)
