"""Small random transformers models in Hugging Face folders, and the same weights in JAX."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from benchmarks import pairs
from teacherlm_jax.cli import main
from teacherlm_jax.config import ModelConfig

# Equal sizes, so that tests share most compiled programs.
SHAPES = {
    "bloom": ModelConfig("bloom", 2, 32, 4),
    "bloom with an untied head": ModelConfig("bloom", 2, 32, 4, tied=False),
    "opt": ModelConfig("opt", 2, 32, 4, max_positions=40),
    "opt with an untied head": ModelConfig("opt", 2, 32, 4, max_positions=40, tied=False),
    "opt like 350m": ModelConfig(
        "opt", 2, 32, 4, max_positions=40, embedding_width=16, norm="after"
    ),
}
SPECIAL = {
    "bloom": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "opt": {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"},
}


_OPT_FIRST = ("<s>", "<pad>", "</s>", "<unk>")


@pytest.fixture(scope="session")
def pair_of(torch):
    """Function from a name in SHAPES to a `benchmarks.pairs.Pair` with a vocabulary of 288."""

    @functools.cache
    def make(name: str) -> pairs.Pair:
        return pairs.make(dataclasses.replace(SHAPES[name], vocab_size=288, dtype="float32"))

    return make


@pytest.fixture(scope="session", params=list(SHAPES))
def pair(request, pair_of) -> pairs.Pair:
    """Pair of each shape in SHAPES."""
    return pair_of(request.param)


@pytest.fixture(scope="session")
def large_pair(torch):
    """Function from a family to a pair that fills several shards of 1 MB."""

    @functools.cache
    def make(family: str) -> pairs.Pair:
        positions = 40 if family == "opt" else 0
        shape = ModelConfig(family, 2, 128, 4, max_positions=positions, vocab_size=288)
        return pairs.make(dataclasses.replace(shape, dtype="float32"))

    return make


@pytest.fixture(scope="session")
def write_tokenizer():
    """Function that writes a byte-level tokenizer of 260 ids without merges into a folder.

    Special ids are also written to the config.json of the folder, if there is one.
    """

    def write(folder: Path, family: str) -> None:
        first = ("<unk>", "<s>", "</s>", "<pad>") if family == "bloom" else _OPT_FIRST
        tokens = (*first, *sorted(pre_tokenizers.ByteLevel.alphabet()))
        vocabulary = {token: id for id, token in enumerate(tokens)}
        folder.mkdir(exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(SPECIAL[family]))
        if (folder / "config.json").exists():
            named = {
                name: SPECIAL[family][name] for name in ("bos_token", "eos_token", "pad_token")
            }
            ids = {f"{name}_id": vocabulary[token] for name, token in named.items()}
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | ids))

    return write


@pytest.fixture
def save(tmp_path, write_tokenizer):
    """Function that saves a pair and a tokenizer with transformers and returns the folder."""

    def save_pair(pair: pairs.Pair, **options) -> Path:
        folder = tmp_path / "hf"
        pair.reference.save_pretrained(folder, **options)
        write_tokenizer(folder, pair.config.family)
        return folder

    return save_pair


@pytest.fixture
def convert(capsys):
    """Function that runs `convert SOURCE OUTPUT …` and returns its exit status and stderr."""

    def call(source, output, *overrides) -> tuple[int, str]:
        capsys.readouterr()
        status = main.main(["convert", str(source), str(output), *overrides])
        return status, capsys.readouterr().err

    return call
