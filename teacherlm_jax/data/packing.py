"""Many texts in one row of fixed length: token by token what a model trains on.

Only a text that is longer than a row is cut, as TOO_LONG tells. Inside a row each text has a
segment id of its own and positions from 0, so that attention can keep the texts apart (TeacherLM,
arXiv 2310.19019, section on training).
"""

import bisect
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int32

from teacherlm_jax.data.prompts import Piece
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.tokenization.vocabulary import Vocabulary

LOSSES: dict[str, frozenset[str]] = {  # roles of the pieces whose tokens bear loss
    "text": frozenset({"question", "answer", "trigger", "explanation"}),
    "answer": frozenset({"answer"}),
    "answer_and_explanations": frozenset({"answer", "explanation"}),
}

FIELDS = ("question", "answer", *KINDS)  # of a sample, as counted in Encoded.field_tokens

_WINDOW = 512  # rows that are open at the same time
_NUMBER = np.dtype("<u4")  # of lengths and tokens on disk


@dataclasses.dataclass(frozen=True)
class Encoded:
    """One text as tokens, with what begins and ends it, and which of them bear loss.

    `field_tokens` are the numbers of tokens that come from each of FIELDS; empty: not counted.
    """

    tokens: Sequence[int] | Int32[np.ndarray, " T"]
    loss_mask: Sequence[bool] | Bool[np.ndarray, " T"]
    field_tokens: Sequence[int] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of T tokens.

    Attributes:
        tokens: ids; padding is 0 and stands at the end.
        segment_ids: 1 for the tokens of the first text, 2 for the second …; 0 for padding.
        positions: from 0 in each text; 0 for padding.
        loss_mask: which tokens bear loss as targets.
    """

    tokens: Int32[np.ndarray, " T"]
    segment_ids: Int32[np.ndarray, " T"]
    positions: Int32[np.ndarray, " T"]
    loss_mask: Bool[np.ndarray, " T"]


def encode_pieces(pieces: Sequence[Piece], vocabulary: Vocabulary, loss: str) -> Encoded:
    """Tokens of a text: what begins every text, each piece tokenised alone, and a terminator.

    `loss` is a key of LOSSES. What begins a text bears none; the terminator does if the last piece
    does.
    """
    return encode_texts([pieces], vocabulary, loss)[0]


def encode_texts(
    texts: Sequence[Sequence[Piece]], vocabulary: Vocabulary, loss: str
) -> list[Encoded]:
    """`encode_pieces` for many texts; pieces that come more than once are tokenised once."""
    distinct = list(dict.fromkeys(piece.text for pieces in texts for piece in pieces))
    ids = dict(zip(distinct, vocabulary.encode_batch(distinct), strict=True))
    return [_assembled_text(pieces, ids, vocabulary, LOSSES[loss]) for pieces in texts]


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
        found = ids[piece.text]
        tokens += found
        mask += [piece.role in roles] * len(found)
        field = piece.kind or piece.role
        if field in counts:
            counts[field] += len(found)
    tokens.append(vocabulary.eos_id)
    mask.append(pieces[-1].role in roles)
    return Encoded(tokens, mask, tuple(counts.values()))


def encode_prompt(pieces: Iterable[Piece], vocabulary: Vocabulary) -> list[int]:
    """Tokens of a text that a model goes on with: as `encode_pieces`, without the terminator."""
    tokens = [*vocabulary.begin]
    for piece in pieces:
        tokens += vocabulary.encode(piece.text)
    return tokens


def fit(text: Encoded, longest: int, too_long: str, begin: int = 0) -> tuple[Encoded, ...]:
    """The text itself if it has at most `longest` tokens, otherwise what is made of it.

    `too_long` is a key of TOO_LONG, `begin` the number of ids that begin every text of the
    vocabulary (fewer than `longest`). What is made has `longest` tokens at most, and its
    `field_tokens` are not counted.
    """
    if len(text.tokens) <= longest:
        return (text,)
    return TOO_LONG[too_long](text, longest, begin)


def _drop(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    return ()


def _keep_left(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    return (Encoded(text.tokens[:longest], text.loss_mask[:longest]),)


def _keep_right(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    return (_from(text, len(text.tokens) - (longest - begin), len(text.tokens), begin),)


def _split(text: Encoded, longest: int, begin: int) -> tuple[Encoded, ...]:
    step = longest - begin
    starts = range(begin, len(text.tokens), step)
    return tuple(_from(text, start, start + step, begin) for start in starts)


# What becomes of a text that is too long. A kept stretch is a segment, so it begins with what
# begins every text, as a model expects; only one that reaches the text's end has the terminator.
TOO_LONG: dict[str, Callable[[Encoded, int, int], tuple[Encoded, ...]]] = {
    "drop": _drop,  # nothing
    "left": _keep_left,  # its first tokens, one text without a terminator
    "right": _keep_right,  # its last tokens, as the authors' code does
    "split": _split,  # several texts one after another, with all tokens
}


def bears_loss(text: Encoded) -> bool:
    """Return whether a text has a token to train on; the first one has no context to predict it."""
    return bool(np.any(text.loss_mask[1:]))


def _from(text: Encoded, start: int, end: int, begin: int) -> Encoded:
    """The stretch [start, end) of a text behind what begins it."""
    tokens, mask = np.asarray(text.tokens, np.int32), np.asarray(text.loss_mask, bool)
    return Encoded(
        np.concatenate([tokens[:begin], tokens[start:end]]),
        np.concatenate([mask[:begin], mask[start:end]]),
    )


def pack(texts: Iterable[Encoded], length: int, window: int = _WINDOW) -> Iterator[PackedRow]:
    """Fills rows of `length` tokens with whole texts, best fit first.

    Each text goes to the open row that it leaves the least room in. When none takes it, a row is
    opened; when `window` rows are open already, the fullest of them is finished first. The result
    depends on the texts and their order alone. Raises ValueError for a text that fits no row.
    """
    open_rows: list[tuple[int, int]] = []  # (room left, serial number), sorted
    contents: dict[int, list[Encoded]] = {}
    opened = 0
    for text in texts:
        size = len(text.tokens)
        if not 0 < size <= length:
            raise ValueError(f"a text of {size} tokens in rows of {length}")
        place = bisect.bisect_left(open_rows, (size, -1))
        if place < len(open_rows):
            room, serial = open_rows.pop(place)
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


def to_bytes(row: PackedRow) -> bytes:
    """A row as a record: number of texts, their lengths, their tokens, their loss as bits."""
    sizes = np.bincount(row.segment_ids)[1:]
    used = int(sizes.sum())
    head = np.concatenate([[len(sizes)], sizes, row.tokens[:used]]).astype(_NUMBER)
    return head.tobytes() + np.packbits(row.loss_mask[:used]).tobytes()


def from_bytes(record: bytes, length: int) -> PackedRow:
    """The row of `length` tokens that `to_bytes` wrote; raises ValueError for other bytes."""
    if len(record) < _NUMBER.itemsize:
        raise ValueError("a record without a head")
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


def _assembled(sizes: np.ndarray, tokens: np.ndarray, mask: np.ndarray, length: int) -> PackedRow:
    """A padded row from the texts' lengths, and their tokens and loss one after another."""
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


def power_of_two(number: int, smallest: int = 1) -> int:
    """Return the smallest power of two that is at least `number` and at least `smallest`.

    Lengths rounded up like this share few compiled shapes. `number` is positive; `smallest` is a
    power of two itself.
    """
    return max(smallest, 1 << (number - 1).bit_length())
