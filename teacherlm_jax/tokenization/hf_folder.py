"""Folders of tokenizers as transformers keeps them, read and written without it.

Read are `tokenizer.json`, or `vocab.json` with `merges.txt`, and what `tokenizer_config.json`,
`special_tokens_map.json` and the model's `config.json` say of special tokens, in this order.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization import byte_level
from teacherlm_jax.tokenization.byte_level import ByteLevel
from teacherlm_jax.tokenization.special_ids import NAMES, SpecialIds

VOCABULARY, MERGES = "vocab.json", "merges.txt"
_CONFIG = "tokenizer_config.json"
_MAP = "special_tokens_map.json"

# A model's config.json leaves out what is the default of its family.
_DEFAULT_IDS = {
    "bloom": {"unk_token": 0, "bos_token": 1, "eos_token": 2, "pad_token": 3},
    "opt": {"bos_token": 2, "eos_token": 2, "pad_token": 1},
}


def holds_tokenizer(folder: Path) -> bool:
    """Whether the folder has a file that `read` would begin with."""
    return any((folder / name).exists() for name in (ByteLevel.filename, VOCABULARY))


def read(folder: Path) -> tuple[ByteLevel, SpecialIds]:
    """The tokenizer in a folder of transformers' kind, and which ids have a part to play.

    Raises UserError, naming the file, for anything but a byte-level BPE whose files fit together.
    """
    told = _Told(folder)
    path = folder / ByteLevel.filename
    if path.is_file():
        file = ByteLevel(path.read_bytes(), str(path))
        special = told.special(file.vocabulary, file.around[0])
        return byte_level.completed(file, special.begin, special.names.values()), special
    vocabulary, merges = _read_vocabulary(folder / VOCABULARY), _read_merges(folder / MERGES)
    told.refuse_added(vocabulary)
    special = told.special(vocabulary)
    content = byte_level.composed(vocabulary, merges, special.names.values(), special.begin)
    return ByteLevel(content, str(folder / VOCABULARY)), special


def write(folder: Path, tokenizer: bytes, special: SpecialIds) -> None:
    """Writes what `AutoTokenizer.from_pretrained` reads; `tokenizer` becomes tokenizer.json.

    Prompts are padded on the left there, as generation by a decoder needs it.
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
    """The ids of the special tokens by their names in transformers, keys of NAMES."""
    library = Tokenizer.from_str(tokenizer.decode())
    found = {name: library.token_to_id(token) for name, token in special.names.items()}
    return {name: id for name, id in found.items() if id is not None}


class _Told:
    """What the files beside a tokenizer say of it."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._tokenizer = _read_object(folder / _CONFIG)
        self._map = _read_object(folder / _MAP)
        self._model = _read_object(folder / "config.json")
        if self._tokenizer.get("add_prefix_space"):
            raise UserError(
                f"{folder / _CONFIG}: add_prefix_space is true, so that texts would not come back "
                "as they were; wanted false, as BLOOM and OPT have it"
            )

    def special(self, vocabulary: Mapping[str, int], begin: tuple[int, ...] = ()) -> SpecialIds:
        """The special ids of a vocabulary; `begin` is what its file puts before texts by itself."""
        names = self._names(vocabulary)
        if "eos_token" not in names:
            raise UserError(
                f"{self._folder}: no file tells which token ends a text; put {_CONFIG} with its "
                "eos_token there, or the model's config.json"
            )
        ids = {name: vocabulary[token] for name, token in names.items()}
        if not begin and "bos_token" in ids and self._puts_begin():
            begin = (ids["bos_token"],)
        eos_id, unknown_id = ids["eos_token"], ids.get("unk_token")
        # OPT names one token for both; as the unknown one it has no use where bytes stand in.
        return SpecialIds(eos_id, None if unknown_id == eos_id else unknown_id, begin, names)

    def _puts_begin(self) -> bool:
        told = self._tokenizer.get("add_bos_token")
        return self._model.get("model_type") == "opt" if told is None else bool(told)

    def _names(self, vocabulary: Mapping[str, int]) -> dict[str, str]:
        """The special tokens that are named and have an id."""
        tokens = {id: token for token, id in vocabulary.items()}
        found = {}
        for name in NAMES:
            named = next(self._named(name, tokens), None)
            if named is not None and named in vocabulary:
                found[name] = named
            elif named is not None and name == "eos_token":
                raise UserError(f"{self._folder}: eos_token {named!r} is not in the vocabulary")
        return found

    def _named(self, name: str, tokens: Mapping[int, str]) -> Iterator[str]:
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
        """UserError for tokens with ids of their own, which need a tokenizer.json."""
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


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object, empty when there is no such file."""
    value = files.read_json(path) if path.exists() else {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: wanted a JSON object, found {type(value).__name__}")
    return value


def _read_vocabulary(path: Path) -> dict[str, int]:
    vocabulary = files.read_json(path)
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if not ids or not all(type(id) is int and id >= 0 for id in ids) or len(set(ids)) != len(ids):
        raise UserError(f"{path}: wanted a JSON object that gives each token an id of its own")
    return vocabulary


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; it belongs to {VOCABULARY} beside it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != 2 or not all(parts):
            raise UserError(f"{path}:{number}: wanted two tokens with a space between: {line!r}")
        merges.append((parts[0], parts[1]))
    return merges
