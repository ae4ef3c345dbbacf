"""One way for tests to make a Hugging Face folder without PyTorch: its weights are zeros."""

import numpy as np
from safetensors.numpy import save_file

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.hf import config_json, tensor_names
from teacherlm_jax.storage import files

MODEL = ModelConfig("bloom", 2, 32, 4, vocab_size=288)  # the size of other tests: shared programs
WEIGHTS = "model.safetensors"


def write_blank(folder, write_tokenizer):
    """Write config, weights and tokenizer of a small model; return the folder."""
    folder.mkdir()
    files.write_json(folder / "config.json", config_json.described(MODEL))
    zeros = {
        slot.name: np.zeros(slot.stored_shape, np.float32) for slot in tensor_names.slots(MODEL)
    }
    save_file(zeros, folder / WEIGHTS)
    write_tokenizer(folder, "bloom")
    return folder
