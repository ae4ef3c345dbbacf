"""Models on the Hugging Face Hub, downloaded into the hub's own cache."""

import dataclasses
import os
import re
from pathlib import Path

from teacherlm_jax.config import PrepareConfig
from teacherlm_jax.config.names import HUB
from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.hf import config_json
from teacherlm_jax.storage import disk_errors
from teacherlm_jax.tokenization.vocabulary import holds_vocabulary

_ADDRESS = re.compile(rf"{HUB}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocabulary.json", "sentencepiece.model"),
)
# Weights with standard names. A pattern matches the whole path, so files in subfolders, such as
# ONNX exports, are not downloaded.
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json", "model[-_]0*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model[-_]0*.bin"),
)


def is_address(path: Path | str) -> bool:
    """Return whether `path` names a model on the hub."""
    return os.fspath(path).startswith(HUB)


def download(address: str) -> Path:
    """Return the local folder of `hf://org/name` or `hf://org/name@revision`.

    Config, tokenizer and weights are downloaded unless the cache has them; `.bin` weights only
    when the model has no safetensors. Without a network, a model that the cache holds completely
    is used. HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE work as in all tools of the hub.

    Raises UserError when the address is malformed, the model or revision does not exist, the
    model is gated or holds no weights, or the hub cannot be reached.
    """
    from teacherlm_jax.hf.weights import FORMATS  # loads JAX, which a vocabulary does not need

    name, revision = _parse(address)
    for patterns, format in zip(_WEIGHTS, FORMATS, strict=True):
        folder = _snapshot(address, name, revision, (config_json.FILE, *_TOKENIZER, *patterns))
        if any(folder.glob(format.pattern)):
            return folder
    _refuse_incomplete_cache(address, name, revision)
    raise UserError(
        f"{address}: this model has no weights in a format that can be read; expected "
        "model.safetensors or pytorch_model.bin, whole or in shards"
    )


def local_vocabulary(path: str) -> str:
    """Return the folder of a vocabulary: the downloaded tokenizer of an address, or the path.

    Weights are not downloaded. Raises UserError as `download` does, and for a model without a
    tokenizer.
    """
    if not is_address(path):
        return path
    name, revision = _parse(path)
    folder = _snapshot(path, name, revision, (config_json.FILE, *_TOKENIZER))
    if not holds_vocabulary(folder):
        _refuse_incomplete_cache(path, name, revision)
        raise UserError(
            f"{path}: this model has no tokenizer that can be read; expected tokenizer.json, or "
            "vocab.json and merges.txt"
        )
    return str(folder)


def with_local_vocabulary(config: PrepareConfig) -> PrepareConfig:
    """Return a config whose `vocabulary.path` is a folder, downloaded if it was an address."""
    vocabulary = config.vocabulary
    local = dataclasses.replace(vocabulary, path=local_vocabulary(vocabulary.path))
    return dataclasses.replace(config, vocabulary=local)


def _parse(address: str) -> tuple[str, str]:
    """Return the name of a model and its revision; UserError if the address is malformed."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            f"{address}: not an address of a model; expected hf://org/name or "
            "hf://org/name@revision"
        )
    return match[1], match[2] or "main"


def _snapshot(address: str, name: str, revision: str, patterns: tuple[str, ...]) -> Path:
    import huggingface_hub as library
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{name}"
    try:
        return Path(
            library.snapshot_download(name, revision=revision, allow_patterns=list(patterns))
        )
    except errors.GatedRepoError:
        problem = (
            f"this model is gated; accept its terms at {page}, then log in with `hf auth login` "
            "or set HF_TOKEN"
        )
    except errors.RepositoryNotFoundError:
        problem = (
            f"no such model at {constants.ENDPOINT}, or it is private; check the name, or log in "
            "with `hf auth login` or HF_TOKEN"
        )
    except errors.RevisionNotFoundError:
        problem = f"the model has no revision {revision!r}; {page}/commits/main lists them"
    except errors.HFValidationError as error:
        problem = f"not an address of a model: {one_line(error)}"
    except errors.HfHubHTTPError as error:
        problem = f"{constants.ENDPOINT} answered with an error, try again later: {one_line(error)}"
    except (OSError, errors.OfflineModeIsEnabled) as error:
        if isinstance(error, OSError) and disk_errors.is_of_disk(error):
            raise
        problem = _unreachable(name, revision, constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)
    except errors.HTTPError as error:  # of the HTTP client; most are repeated by the library
        problem = (
            f"the transfer from {constants.ENDPOINT} was interrupted "
            f"({one_line(error) or type(error).__name__}); repeat the command to resume it"
        )
    raise UserError(f"{address}: {problem}")


def _refuse_incomplete_cache(address: str, name: str, revision: str) -> None:
    """Raise UserError for files that are missing in the cache if the hub cannot be asked for them.

    Another program may have downloaded a part of the model, of which the library has no list.
    """
    import huggingface_hub as library
    from huggingface_hub import constants, errors

    try:
        library.HfApi(constants.ENDPOINT).model_info(name, revision=revision)
    except (OSError, errors.OfflineModeIsEnabled, errors.HTTPError):
        offline = constants.HF_HUB_OFFLINE
        problem = _unreachable(name, revision, constants.ENDPOINT, offline=offline)
        raise UserError(f"{address}: {problem}") from None


def _unreachable(name: str, revision: str, endpoint: str, *, offline: bool) -> str:
    cause = "HF_HUB_OFFLINE is set" if offline else f"{endpoint} cannot be reached"
    remedy = "unset it" if offline else "connect to the network"
    return (
        f"{cause}, and the cache does not hold the whole model; {remedy}, or run `hf download "
        f"{name} --revision {revision} --local-dir FOLDER` on another machine and name FOLDER"
    )
