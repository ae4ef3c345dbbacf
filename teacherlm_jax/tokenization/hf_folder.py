"""Tokenizer folders in the format of transformers, read and written without transformers.

`read` uses `tokenizer.json`, or `vocab.json` with `merges.txt`. Special tokens come from
`tokenizer_config.json`, `special_tokens_map.json` or the model's `config.json`, in this order.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath
from tokenizers import Tokenizer

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization import byte_level
from teacherlm_jax.tokenization.byte_level import ByteLevel
from teacherlm_jax.tokenization.special_ids import NAMES, SpecialIds

VOCABULARY, MERGES = "vocab.json", "merges.txt"
_CONFIG = "tokenizer_config.json"
_MAP = "special_tokens_map.json"

# A model's config.json omits values that are the default of its family.
_DEFAULT_IDS = {
    "bloom": {"unk_token": 0, "bos_token": 1, "eos_token": 2, "pad_token": 3},
    "opt": {"bos_token": 2, "eos_token": 2, "pad_token": 1},
}


def holds_tokenizer(folder: epath.Path) -> bool:
    """Return whether the folder contains `tokenizer.json` or `vocab.json`."""
    return any((folder / name).exists() for name in (ByteLevel.filename, VOCABULARY))


def read(folder: epath.Path) -> tuple[ByteLevel, SpecialIds]:
    """Return the tokenizer of a folder, and its special ids.

    Raises UserError that names the file if it is not a byte-level BPE or its files contradict each
    other.
    """
    configs = _Configs(folder)
    path = folder / ByteLevel.filename
    if path.is_file():
        file = ByteLevel(path.read_bytes(), str(path))
        special = configs.special(file.vocabulary, file.around[0])
        return byte_level.complete(file, special.begin, special.names.values()), special
    vocabulary, merges = _read_vocabulary(folder / VOCABULARY), _read_merges(folder / MERGES)
    configs.refuse_added(vocabulary)
    special = configs.special(vocabulary)
    content = byte_level.compose(vocabulary, merges, special.names.values(), special.begin)
    return ByteLevel(content, str(folder / VOCABULARY)), special


def write(folder: epath.Path, tokenizer: bytes, special: SpecialIds) -> None:
    """Write the files that `AutoTokenizer.from_pretrained` reads.

    They ask for padding on the left, which generation with a decoder needs.

    Args:
        folder: the folder to write to.
        tokenizer: content of `tokenizer.json`.
        special: special ids of the vocabulary.
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "left",
        **special.names,
    }
    files.write_bytes(folder / ByteLevel.filename, tokenizer)
    files.write_json(folder / _MAP, dict(special.names))
    files.write_json(folder / _CONFIG, config)


def named_ids(tokenizer: bytes, special: SpecialIds) -> dict[str, int]:
    """Return the id of each special token by its name in transformers, such as "pad_token"."""
    library = Tokenizer.from_str(tokenizer.decode())
    ids = {name: library.token_to_id(token) for name, token in special.names.items()}
    return {name: id for name, id in ids.items() if id is not None}


class _Configs:
    """Config files of a tokenizer's folder, which define its special tokens."""

    def __init__(self, folder: epath.Path):
        self._folder = folder
        self._tokenizer = _read_object(folder / _CONFIG)
        self._map = _read_object(folder / _MAP)
        self._model = _read_object(folder / "config.json")
        if self._tokenizer.get("add_prefix_space"):
            raise UserError(
                f"{folder / _CONFIG}: add_prefix_space is true, so encoding is not lossless; "
                "expected false, as for BLOOM and OPT"
            )

    def special(self, vocabulary: Mapping[str, int], begin: tuple[int, ...] = ()) -> SpecialIds:
        """Return the special ids of a vocabulary.

        Args:
            vocabulary: id by token.
            begin: ids that the tokenizer's own post-processor adds before a text.
        """
        names = self._names(vocabulary)
        if "eos_token" not in names:
            raise UserError(
                f"{self._folder}: no file defines an eos_token; add a {_CONFIG} that names it, or "
                "the model's config.json"
            )
        ids = {name: vocabulary[token] for name, token in names.items()}
        if not begin and "bos_token" in ids and self._adds_bos():
            begin = (ids["bos_token"],)
        eos_id, unknown_id = ids["eos_token"], ids.get("unk_token")
        # OPT names one token for both. A byte-level vocabulary does not need an unknown token.
        return SpecialIds(eos_id, None if unknown_id == eos_id else unknown_id, begin, names)

    def _adds_bos(self) -> bool:
        setting = self._tokenizer.get("add_bos_token")
        return self._model.get("model_type") == "opt" if setting is None else bool(setting)

    def _names(self, vocabulary: Mapping[str, int]) -> dict[str, str]:
        """Return the special tokens that a file names and the vocabulary contains."""
        tokens = {id: token for token, id in vocabulary.items()}
        names = {}
        for name in NAMES:
            token = next(self._candidates(name, tokens), None)
            if token is not None and token in vocabulary:
                names[name] = token
            elif token is not None and name == "eos_token":
                raise UserError(
                    f"{self._folder}: eos_token {token!r} is not in the vocabulary; name a token "
                    "of the vocabulary"
                )
        return names

    def _candidates(self, name: str, tokens: Mapping[int, str]) -> Iterator[str]:
        """Yield the token that each file gives for a name, in the order of precedence."""
        for file in (self._tokenizer, self._map):
            token = file.get(name)
            content = token.get("content") if isinstance(token, dict) else token
            if isinstance(content, str):
                yield content
        defaults = _DEFAULT_IDS.get(str(self._model.get("model_type")), {})
        for id in (self._model.get(f"{name}_id"), defaults.get(name)):
            if isinstance(id, int) and id in tokens:
                yield tokens[id]

    def refuse_added(self, vocabulary: Mapping[str, int]) -> None:
        """Raise UserError for added tokens outside `vocab.json`, which need a tokenizer.json."""
        decoder = self._tokenizer.get("added_tokens_decoder")
        tokens = decoder.values() if isinstance(decoder, dict) else ()
        added = [token["content"] for token in tokens if isinstance(token, dict)]
        added += _read_object(self._folder / "added_tokens.json")
        for token in added:
            if token not in vocabulary:
                raise UserError(
                    f"{self._folder}: the added token {token!r} is not in {VOCABULARY}; save the "
                    f"tokenizer as {ByteLevel.filename} with transformers first"
                )


def _read_object(path: epath.Path) -> dict[str, Any]:
    """Return the JSON object of a file; empty if there is no such file."""
    value = files.read_json(path) if path.exists() else {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _read_vocabulary(path: epath.Path) -> dict[str, int]:
    vocabulary = files.read_json(path)
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if not ids or not all(type(id) is int and id >= 0 for id in ids) or len(set(ids)) != len(ids):
        raise UserError(
            f"{path}: expected a JSON object with a different id for each token; copy it again"
        )
    return vocabulary


def _read_merges(path: epath.Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy it to the folder of {VOCABULARY}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {error}; copy it again") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != 2 or not all(parts):
            raise UserError(
                f"{path}:{number}: expected two tokens separated by a space, got {line!r}; copy "
                "it again"
            )
        merges.append((parts[0], parts[1]))
    return merges
