"""Small random models of transformers in folders of their own, and the same weights in ours."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import pytest
from tokenizers import pre_tokenizers

from benchmarks import pairs
from teacherlm_jax.cli import main
from teacherlm_jax.config import ModelConfig

# Of the same sizes, so that most of what they compile is the same.
SHAPES = {
    "bloom": ModelConfig("bloom", 2, 32, 4),
    "bloom with a head of its own": ModelConfig("bloom", 2, 32, 4, tied=False),
    "opt": ModelConfig("opt", 2, 32, 4, max_positions=40),
    "opt with a head of its own": ModelConfig("opt", 2, 32, 4, max_positions=40, tied=False),
    "opt like 350m": ModelConfig(
        "opt", 2, 32, 4, max_positions=40, embedding_width=16, norm="after"
    ),
}
SPECIAL = {
    "bloom": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "opt": {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"},
}


_OPT_FIRST = ("<s>", "<pad>", "</s>", "<unk>")


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """Tests compile the same small programs again and again; each is compiled once a session."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="session")
def pair_of(torch):
    """`pair_of(name of SHAPES)`: a `benchmarks.pairs.Pair` with a vocabulary of 288."""

    @functools.cache
    def made(name: str) -> pairs.Pair:
        return pairs.make(dataclasses.replace(SHAPES[name], vocab_size=288, dtype="float32"))

    return made


@pytest.fixture(scope="session", params=list(SHAPES))
def pair(request, pair_of) -> pairs.Pair:
    """Every shape in turn."""
    return pair_of(request.param)


@pytest.fixture(scope="session")
def write_tokenizer():
    """`write_tokenizer(folder, family)`: a byte-level tokenizer of 260 ids without merges.

    A config.json in the folder gets its special ids.
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
    """`save(pair, **options of save_pretrained)`: a whole folder of transformers' making."""

    def saved(pair: pairs.Pair, **options) -> Path:
        folder = tmp_path / "theirs"
        pair.theirs.save_pretrained(folder, **options)
        write_tokenizer(folder, pair.config.family)
        return folder

    return saved


@pytest.fixture
def convert(capsys):
    """`convert(source, output, *overrides)`: the command; gives its status and what it said."""

    def run(source, output, *overrides) -> tuple[int, str]:
        capsys.readouterr()
        status = main.main(["convert", str(source), str(output), *overrides])
        return status, capsys.readouterr().err

    return run
