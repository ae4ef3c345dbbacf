"""Validation of a command line before any machine is requested or any process is started."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import masking


def require_valid(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, devices: int = 0
) -> None:
    """Raise UserError unless `teacherlm WORDS` names a known verb, a config and its keys.

    Its `config.mesh`, if it has one, must fit the devices.

    Args:
        words: the command line, starting with the verb.
        environment: variables that the launcher sets for the command.
        folder: the working directory of the command, which is a checkout or any other folder.
        devices: number of JAX devices of the command; 0: not known here.
    """
    option = f"--validate={devices}" if devices else "--validate"
    done = subprocess.run(
        [sys.executable, "-m", "teacherlm_jax", *words, option],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        message = lines[-1].removeprefix("teacherlm: ")
        raise UserError(masking.without(message, masking.secrets(os.environ)))


def config_file(words: Sequence[str]) -> str | None:
    """Return the path of the config file that a command line names, without its variant."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--config":
            return following.partition(":")[0]
        if word.startswith("--config="):
            return word.removeprefix("--config=").partition(":")[0]
    return None
