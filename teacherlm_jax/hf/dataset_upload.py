"""Uploads of datasets to the Hugging Face Hub, with the token of the environment."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.config import DatasetConfig
from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.hf.dataset_card import SPLIT
from teacherlm_jax.storage import disk_errors
from teacherlm_jax.wording import counted

_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)")
_OF_GIT = ".gitattributes"  # the only file of a new repository
_TOKENS = "https://huggingface.co/settings/tokens"


def parse(address: str) -> str:
    """Return the name of a dataset, such as org/name; UserError if it is not an address of one."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(f"{address}: not an address of a dataset; expected hf://datasets/org/name")
    return match[1]


def open_repository(name: str, config: DatasetConfig) -> None:
    """Create the repository of a dataset, or check that an existing one may be written.

    Raises UserError if there is no token, if the token does not permit it, if the repository has
    files and `config.update` is not set, or if the Hub cannot be reached.
    """
    import huggingface_hub as library
    from huggingface_hub import constants, errors

    if library.get_token() is None:
        raise UserError(
            f"hf://datasets/{name}: no token for uploads; set HF_TOKEN to a token with write "
            f"access from {_TOKENS}, or log in with `hf auth login`"
        )
    with _explained(name):
        try:
            info = library.HfApi().dataset_info(name)
        except errors.RepositoryNotFoundError:
            library.HfApi().create_repo(
                name, repo_type="dataset", private=config.private, exist_ok=True
            )
            return
    present = {sibling.rfilename for sibling in info.siblings or ()} - {_OF_GIT}
    if present and not config.update:
        raise UserError(
            f"hf://datasets/{name}: the repository has {counted(len(present), 'file')}; name "
            "another one, or replace its data files and README.md with "
            f"--config.dataset.update=True (see {constants.ENDPOINT}/datasets/{name})"
        )


def upload(folder: Path, name: str, config: DatasetConfig) -> str:
    """Upload the files of a folder in one commit; return the address of the page.

    Data files of an earlier upload are removed in the same commit.
    """
    import huggingface_hub as library
    from huggingface_hub import constants

    with _explained(name):
        library.HfApi().upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=folder,
            commit_message="Upload explained samples",
            delete_patterns=[f"{SPLIT}-*"] if config.update else None,
        )
    return f"{constants.ENDPOINT}/datasets/{name}"


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Raise UserError with a remedy for errors of the Hub."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        problem = "HF_HUB_OFFLINE is set; unset it to upload"
    except errors.HFValidationError as error:
        problem = f"not a name of a dataset: {one_line(error)}; expected org/name"
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        organization = name.partition("/")[0]
        if status in (401, 403, 404):
            problem = (
                f"the token does not permit writing here (status {status}); use a token with "
                f"write access from {_TOKENS}, and check that you may write to {organization}"
            )
        else:
            problem = (
                f"{constants.ENDPOINT} answered with an error, repeat the command later: "
                f"{one_line(error)}"
            )
    except (OSError, RuntimeError, errors.HTTPError) as error:  # of HTTP, and of hf_xet
        if isinstance(error, OSError) and disk_errors.is_of_disk(error):
            raise
        problem = (
            f"the transfer to {constants.ENDPOINT} failed "
            f"({one_line(error) or type(error).__name__}); check network and token and repeat the "
            f"command, or convert to a folder and run `hf upload {name} FOLDER --repo-type dataset`"
        )
    else:
        return
    raise UserError(f"hf://datasets/{name}: {problem}")
