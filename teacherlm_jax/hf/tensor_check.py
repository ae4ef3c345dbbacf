"""Whether the tensors of a folder are those of a model: all of them, no other, of its shapes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import tensor_names
from teacherlm_jax.hf.lazy_tensor import DTYPES, Stored
from teacherlm_jax.hf.tensor_names import Piece

_SHOWN = 5  # problems told at once
_BLOCK = 64 << 20  # bytes compared at a time


def matched(
    folder: Path, config: ModelConfig, tensors: Mapping[str, Stored]
) -> list[tuple[Piece, Stored]]:
    """Each piece of the model with the tensor that it is.

    Headers suffice, but for a head that is stored although it is tied: it must be the embedding,
    bit for bit. Raises UserError naming the first tensors that are missing, superfluous, or of
    another shape (telling both) or a dtype that is not read.
    """
    found, problems = _without_prefix(config.family, tensors)
    pairs = []
    for piece in tensor_names.pieces(config):
        tensor = found.pop(piece.name, None)
        if tensor is None:
            problems.append(f"{piece.name} of shape {list(piece.theirs)} is missing")
        elif problem := _problem(piece, tensor):
            problems.append(problem)
        else:
            pairs.append((piece, tensor))
    head = found.pop(tensor_names.HEAD, None) if config.tied else None
    problems += [
        f"{tensor.name} of shape {list(tensor.shape)} has no place in the model"
        for name, tensor in found.items()
        if name not in tensor_names.HARMLESS[config.family]
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(
            f"{folder}: its weights are not those of its config.json: "
            f"{'; '.join(problems[:_SHOWN])}{more}; copy config.json and weights again, from one "
            "place"
        )
    if head is not None:
        embedding = next(t for piece, t in pairs if piece.parameter == tensor_names.EMBEDDING)
        _refuse_other_head(folder, head, embedding)
    return pairs


def _without_prefix(
    family: str, tensors: Mapping[str, Stored]
) -> tuple[dict[str, Stored], list[str]]:
    """The tensors by their name without the prefix, and what stands there twice."""
    found: dict[str, Stored] = {}
    twice = []
    for name, tensor in tensors.items():
        bare = name.removeprefix(tensor_names.PREFIXES[family])
        if bare in found:
            twice.append(f"{name} and {found[bare].name} are the same tensor")
        found[bare] = tensor
    return found, twice


def _problem(piece: Piece, tensor: Stored) -> str:
    if tensor.shape != piece.theirs:
        return (
            f"{tensor.name} has the shape {list(tensor.shape)}, config.json wants "
            f"{list(piece.theirs)}"
        )
    if tensor.dtype not in DTYPES:
        return f"{tensor.name} is of dtype {tensor.dtype}, read are {', '.join(DTYPES)}"
    return ""


def _refuse_other_head(folder: Path, head: Stored, embedding: Stored) -> None:
    same = (head.shape, head.dtype) == (embedding.shape, embedding.dtype)
    if not same or not _equal(head, embedding):
        raise UserError(
            f"{folder}: {head.name} is not {embedding.name}, though config.json ties the head to "
            'the embedding; if the model has a head of its own, say "tie_word_embeddings": false '
            "in config.json"
        )


def _equal(first: Stored, second: Stored) -> bool:
    if (first.file, first.offset) == (second.file, second.offset):
        return True
    rows = max(1, _BLOCK * first.shape[0] // max(1, first.nbytes))
    for start in range(0, first.shape[0], rows):
        block = (slice(start, start + rows), slice(None))
        if not np.array_equal(first.read(block).view(np.uint8), second.read(block).view(np.uint8)):
            return False
    return True
