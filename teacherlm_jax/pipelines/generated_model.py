"""A small OPT in the Hugging Face format, in place of a published one, for tests of pipelines."""

import json
from collections.abc import Iterable

import numpy as np
from etils import epath
from tokenizers import ByteLevelBPETokenizer

from teacherlm_jax.hf import config_json, tensor_names
from teacherlm_jax.hf.safetensors import SafetensorsWriter
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization import hf_folder
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

_SHAPE, _DTYPE = "opt-tiny", "float32"
_PIECES = 1000
_FIRST = ("<s>", "<pad>", "</s>", "<unk>")  # OPT's special tokens, by id
_NAMED = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}


def write_opt(folder: epath.Path, texts: Iterable[str]) -> None:
    """Write an OPT with random weights, and a byte-level tokenizer trained on `texts`.

    A folder that holds a model is left as it is. The files are those that OPT is published with:
    config.json, model.safetensors (float32), vocab.json, merges.txt and tokenizer_config.json.
    """
    if files.exists(folder / config_json.FILE):  # written last
        return
    _write_tokenizer(folder, texts)
    vocabulary = open_vocabulary(folder)
    model = registry.shape(_SHAPE, vocab_size=vocabulary.size)
    slots = list(tensor_names.slots(model))
    shapes = {slot.name: slot.stored_shape for slot in slots}
    draw = np.random.default_rng(0).normal
    with SafetensorsWriter(folder / "model.safetensors", shapes, _DTYPE) as writer:
        for name, shape in shapes.items():
            gain = name.endswith("layer_norm.weight")
            writer.write(draw(float(gain), model.initializer_range, shape).astype(_DTYPE))
    config_json.write(folder, config_json.described(model), _DTYPE, vocabulary)


def _write_tokenizer(folder: epath.Path, texts: Iterable[str]) -> None:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, _PIECES, special_tokens=list(_FIRST), show_progress=False)
    trained = json.loads(tokenizer.to_str())["model"]
    merges = "".join(f"{left} {right}\n" for left, right in trained["merges"])
    files.write_json(folder / hf_folder.VOCABULARY, trained["vocab"])
    files.write_text(folder / hf_folder.MERGES, f"#version: 0.2\n{merges}")
    files.write_json(folder / "tokenizer_config.json", _NAMED)
