"""LoRA adapters in the layout of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

PEFT keeps A as [rank, inputs] and B as [outputs, rank] of each linear layer. OPT has separate
query, key and value there: they get copies of A, and each its part of B.
"""

import dataclasses
from collections.abc import Callable, Iterator

from etils import epath

from teacherlm_jax.checkpoints.adapter_origin import AdapterOrigin
from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.config.names import HUB
from teacherlm_jax.hf import hub, save, tensor_names
from teacherlm_jax.hf.tensor_names import TensorSlot
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import files

CONFIG, STEM = "adapter_config.json", "adapter_model"
_PREFIX = "base_model.model."  # of all names, before those of transformers


def slots(model: ModelConfig, lora: LoraConfig) -> Iterator[TensorSlot]:
    """Yield the tensors of all adapters, with their places in our parameters."""
    for slot in tensor_names.slots(model):
        projection, _, leaf = slot.parameter.rpartition("/")
        if leaf != "kernel" or projection.removeprefix("blocks/") not in lora.targets:
            continue
        assert slot.inputs  # of a kernel
        inputs, outputs = slot.shape[: slot.inputs], slot.shape[slot.inputs :]
        name = slot.name.removesuffix(".weight")
        yield dataclasses.replace(
            slot, name=f"{name}.lora_A.weight", parameter=f"{projection}/adapter/a",
            shape=(*inputs, lora.rank), start=0,
        )  # fmt: skip
        yield dataclasses.replace(
            slot, name=f"{name}.lora_B.weight", parameter=f"{projection}/adapter/b",
            shape=(lora.rank, *outputs), inputs=1,
        )  # fmt: skip


def write(
    adapters: Tree,
    model: ModelConfig,
    origin: AdapterOrigin,
    folder: epath.Path,
    dtype: str,
    on_tensor: Callable[[], None],
) -> None:
    """Write adapters (all on this process's devices) in `dtype`; adapter_config.json comes last.

    Raises UserError, naming the tensor, when a value is too large for `dtype`.
    """
    own = list(slots(model, origin.lora))
    prefix = _PREFIX + tensor_names.PREFIXES[model.family]
    named = [(prefix + slot.name, slot) for slot in own]
    save.write_tensors(adapters, [named], folder, STEM, dtype, on_tensor)
    modules = {slot.name.removesuffix(".lora_A.weight").rpartition(".")[2] for slot in own[::2]}
    name, _, revision = origin.base.path.removeprefix(HUB).partition("@")
    alpha = origin.lora.alpha
    keys = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name if hub.is_address(origin.base.path) else origin.base.path,
        "revision": revision or None if hub.is_address(origin.base.path) else None,
        "inference_mode": True,
        "r": origin.lora.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(modules),
        "bias": "none",
        "fan_in_fan_out": False,
    }
    files.write_json(folder / CONFIG, keys)
