"""Check that the tensors of a folder are exactly those of a model, in its shapes."""

from collections.abc import Iterable, Mapping

import numpy as np
from etils import epath

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import lazy_tensor, tensor_names
from teacherlm_jax.hf.lazy_tensor import DTYPES, StoredTensor
from teacherlm_jax.hf.tensor_names import TensorSlot
from teacherlm_jax.wording import counted

_SHOWN = 5  # problems in one message


def matched(
    folder: epath.Path, config: ModelConfig, tensors: Mapping[str, StoredTensor]
) -> list[tuple[TensorSlot, StoredTensor]]:
    """Return each slot of the model with the tensor that fills it.

    A prefix that a wrapper put in front of the names, such as `module.` or `_orig_mod.`, is
    dropped. Only headers are read, except when a file stores a head that is tied to the embedding:
    the two must be equal bit for bit. Raises UserError naming the files and the first tensors that
    are missing, unexpected, of another shape or of a dtype that cannot be read.
    """
    by_name, problems = _by_name(config.family, tensors)
    pairs = []
    for slot in tensor_names.slots(config):
        tensor = by_name.pop(slot.name, None)
        if tensor is None:
            problems.append(f"{slot.name} of shape {list(slot.stored_shape)} is missing")
        elif problem := _problem(slot, tensor):
            problems.append(problem)
        else:
            pairs.append((slot, tensor))
    head = by_name.pop(tensor_names.HEAD, None) if config.tied else None
    problems += [
        f"{tensor.name} of shape {list(tensor.shape)} has no place in the model"
        for name, tensor in by_name.items()
        if name not in tensor_names.HARMLESS[config.family]
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(
            f"{folder}: the tensors in {_files(tensors)} do not match config.json: "
            f"{'; '.join(problems[:_SHOWN])}{more}; copy config.json and weights again, from one "
            "checkpoint"
        )
    if head is not None:
        embedding = next(t for slot, t in pairs if slot.parameter == tensor_names.EMBEDDING)
        _refuse_other_head(folder, head, embedding)
    return pairs


def wrapper_prefix(family: str, names: Iterable[str]) -> str:
    """Return what a wrapper put in front of the family's own tensor names; mostly nothing.

    It is what precedes the name of the embedding: `module.` of DistributedDataParallel,
    `_orig_mod.` of torch.compile, `model.` of Lightning, or several of them.
    """
    embedding = tensor_names.EMBEDDING_NAMES[family]
    for name in names:
        if name == embedding or name.endswith(f".{embedding}"):
            return name.removesuffix(embedding).removesuffix(tensor_names.PREFIXES[family])
    return ""


def _files(tensors: Mapping[str, StoredTensor]) -> str:
    names = sorted({tensor.file.name for tensor in tensors.values()})
    more = f" and {counted(len(names) - _SHOWN, 'more file')}" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "the files of weights"


def _by_name(
    family: str, tensors: Mapping[str, StoredTensor]
) -> tuple[dict[str, StoredTensor], list[str]]:
    """The tensors by name without prefixes, and a problem for each name that occurs twice."""
    wrapper = wrapper_prefix(family, tensors)
    by_name: dict[str, StoredTensor] = {}
    twice = []
    for name, tensor in tensors.items():
        bare = name.removeprefix(wrapper).removeprefix(tensor_names.PREFIXES[family])
        if bare in by_name:
            twice.append(f"{name} and {by_name[bare].name} are the same tensor")
        by_name[bare] = tensor
    return by_name, twice


def _problem(slot: TensorSlot, tensor: StoredTensor) -> str:
    if tensor.shape != slot.stored_shape:
        return (
            f"{tensor.name} has the shape {list(tensor.shape)}, but config.json implies "
            f"{list(slot.stored_shape)}"
        )
    if tensor.dtype not in DTYPES:
        return f"{tensor.name} has the dtype {tensor.dtype}; expected {', '.join(DTYPES)}"
    return ""


def _refuse_other_head(folder: epath.Path, head: StoredTensor, embedding: StoredTensor) -> None:
    same = (head.shape, head.dtype) == (embedding.shape, embedding.dtype)
    if not same or not _equal(head, embedding):
        raise UserError(
            f"{folder}: {head.name} differs from {embedding.name}, but config.json ties the "
            'head to the embedding; if the model has a separate head, set "tie_word_embeddings": '
            "false in config.json"
        )


def _equal(first: StoredTensor, second: StoredTensor) -> bool:
    if (first.file, first.offset) == (second.file, second.offset):
        return True
    rows = max(1, lazy_tensor.BLOCK_BYTES * first.shape[0] // max(1, first.nbytes))
    for start in range(0, first.shape[0], rows):
        block = (slice(start, start + rows), slice(None))
        if not np.array_equal(first.read(block).view(np.uint8), second.read(block).view(np.uint8)):
            return False
    return True
