"""A Hugging Face model is converted, trained and converted back."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from teacherlm_jax.cli import main
from teacherlm_jax.data import packing
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")

TEXT = "Q: What is red? A: The sky is not."
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return TrainConfig(
        output={output!r},
        data={data!r},
        init_from={start!r},
        model=ModelConfig("bloom", 2, 32, 4, vocab_size=288, dtype="float32"),
        optimizer=OptimizerConfig(learning_rate=0.01),
        mesh=MeshConfig(fsdp=4, tensor=2),
        batch_size=8,
        steps=12,
        log_every=1,
    )
"""


@pytest.fixture(autouse=True)
def strict_dtypes():
    """Allow promotion, because optax raises a decay rate, a float, to the power of a step."""


@pytest.fixture
def prepared(save, pair_of, tmp_path, write_prepared):
    """Prepared rows of one text, tokenized with the model's vocabulary."""
    vocabulary = open_vocabulary(save(pair_of("bloom")))
    tokens = [*vocabulary.begin, *vocabulary.encode(TEXT), vocabulary.eos_id]
    text = packing.Encoded(tokens, [True] * len(tokens))
    folder = tmp_path / "data"
    return write_prepared(folder, [text] * 16, vocabulary, 40)


def test_a_bfloat16_import_is_trained_in_float32_and_exported(prepared, convert, tmp_path):
    mesh = ("--config.mesh.fsdp=4", "--config.mesh.tensor=2")
    source, dtype = tmp_path / "hf", "--config.dtype=bfloat16"
    assert convert(source, tmp_path / "converted", dtype, *mesh)[0] == 0
    settings = {"output": str(tmp_path / "run"), "data": str(prepared)}
    (tmp_path / "train.py").write_text(CONFIG.format(**settings, start=str(tmp_path / "converted")))
    assert main.main(["train", f"--config={tmp_path}/train.py"]) == 0
    assert convert(tmp_path / "run", tmp_path / "back", *mesh) == (0, "")

    lines = [row for _, row in files.read_jsonl(tmp_path / "run" / "metrics.jsonl")]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "back")
    ids = torch.tensor([[*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]])

    def loss(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            return float(model(ids, labels=ids).loss)

    np.testing.assert_allclose(lines[0]["loss"], loss(source), atol=0.02)
    assert lines[-1]["loss"] - 0.5 < loss(tmp_path / "back") < lines[-1]["loss"]
    assert loss(tmp_path / "back") < 0.5 * loss(source)


def train_from(start, tmp_path, prepared, name, **model):
    text = CONFIG.format(output=str(tmp_path / name), data=str(prepared), start=str(start))
    for key, value in model.items():
        text = text.replace('dtype="float32"', f'dtype="float32", {key}={value!r}')
    (tmp_path / "train.py").write_text(text)
    return main.main(["train", f"--config={tmp_path}/train.py", "--config.steps=1"])


def test_training_from_a_hugging_face_folder_equals_training_from_its_conversion(
    prepared, convert, tmp_path
):
    mesh = ("--config.mesh.fsdp=4", "--config.mesh.tensor=2")
    assert convert(tmp_path / "hf", tmp_path / "converted", *mesh)[0] == 0
    losses = []
    for start in ("hf", "converted"):
        assert train_from(tmp_path / start, tmp_path, prepared, f"from_{start}") == 0
        ((_, row),) = files.read_jsonl(tmp_path / f"from_{start}" / "metrics.jsonl")
        losses.append(row["loss"])
    assert losses[0] == losses[1]


def test_a_start_of_another_shape_or_tokenizer_is_refused_by_key(prepared, tmp_path, capsys):
    hf_folder = tmp_path / "hf"
    assert train_from(hf_folder, tmp_path, prepared, "a", layer_norm_epsilon=1e-5) == 0
    assert train_from(hf_folder, tmp_path, prepared, "b", tied=False) == 2
    assert (
        "hf: its tied is True, but config.model.tied is False; set config.model.tied=True"
        in capsys.readouterr().err
    )
    ids = files.read_json(hf_folder / "vocab.json")
    files.write_json(hf_folder / "vocab.json", ids | {"a": ids["b"], "b": ids["a"]})
    assert train_from(hf_folder, tmp_path, prepared, "c") == 2
    assert f"prepare the data with config.vocabulary.path={hf_folder}" in capsys.readouterr().err
