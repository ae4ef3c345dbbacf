"""The command to type next: it resumes a run that stopped, or uses the result of a finished one."""

import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.status import run_state
from teacherlm_jax.status.run_state import RunState
from teacherlm_jax.storage.locations import is_remote

_OUTPUT = "--config.output"
_UNTIL = "--until"  # a pipeline continues after this step
_MOVABLE = ("train", "annotate", "evaluate", "prepare")  # resumed in another folder by one key
_AFTER = {  # a finished run
    "train": "teacherlm convert {run} FOLDER",
    "annotate": "teacherlm convert {run} FOLDER",
    "prepare": "teacherlm train --config=FILE.py --config.data={run}/{mixture}",
    "convert": "teacherlm evaluate --config=FILE.py --config.model={run}",
    "evaluate": "teacherlm report --config.root={parent} --config.output={parent}/report",
    "star": "teacherlm report --config.root={run} --config.output={run}/report",
}
_WHY = {
    "train": "write the model in the Hugging Face format",
    "annotate": "write the explained samples as a dataset",
    "prepare": "train on it",
    "convert": "evaluate it",
    "evaluate": "write tables and figures",
    "star": "write tables and figures",
}


@dataclasses.dataclass(frozen=True)
class NextCommand:
    """The next command for a run.

    Attributes:
        purpose: what it is for.
        command: the command line; empty if it is not known.
        directory: the working directory in which its relative paths are right; empty: any.
    """

    purpose: str = ""
    command: str = ""
    directory: str = ""


NO_COMMAND = NextCommand()


def of(
    folder: epath.Path,
    verb: str,
    config: Mapping[str, Any],
    state: RunState,
    versions: Mapping[str, Any],
) -> NextCommand:
    """Return what to do next with the run in a folder.

    Args:
        folder: the run folder.
        verb: its command.
        config: its settings.
        state: its state.
        versions: content of its `versions.json`.
    """
    run = shlex.quote(str(folder))
    if state.name in (run_state.RUNNING, run_state.WAITING):
        return NextCommand("follow it", f"teacherlm status {run} --watch")
    if state.name == run_state.FINISHED:
        return _after(folder, verb, config)
    words, directory = versions.get("command"), str(versions.get("directory") or "")
    purpose = "resume it" if state.name == run_state.STOPPED else "correct the cause, and resume it"
    processes = versions.get("processes", 1)
    if isinstance(processes, int) and processes > 1:
        purpose += f" on {processes} processes, through the launcher that started them"
    if not (isinstance(words, list) and verb in words[1:]):
        return NextCommand(f"{purpose}: repeat the call that started it")
    words = words[words.index(verb, 1) :]
    words = _without_until([str(word) for word in words])
    output = str(config.get("output") or "")
    if verb in _MOVABLE and not any(word.startswith("--sweep") for word in words):
        words += _moved_to(folder, output, directory)
    if is_remote(directory) or not os.path.isdir(directory) or os.path.samefile(directory, "."):
        directory = ""
    return NextCommand(purpose, shlex.join(["teacherlm", *words]), directory)


def _without_until(words: Sequence[str]) -> list[str]:
    """Return the words of a command without `--until=STEP` and `--until STEP`."""
    pairs = zip(words, ("", *words), strict=False)
    return [word for word, before in pairs if not (word.startswith(_UNTIL) or before == _UNTIL)]


def _after(folder: epath.Path, verb: str, config: Mapping[str, Any]) -> NextCommand:
    if verb not in _AFTER:
        return NextCommand()
    mixtures = config.get("mixtures") or [{}]
    first = mixtures[0] if isinstance(mixtures, list) else {}
    name = str(first.get("name", "MIXTURE")) if isinstance(first, dict) else "MIXTURE"
    run, parent = shlex.quote(str(folder)), shlex.quote(str(folder.parent))
    return NextCommand(_WHY[verb], _AFTER[verb].format(run=run, parent=parent, mixture=name))


def _moved_to(folder: epath.Path, output: str, directory: str) -> list[str]:
    """Return the key that names the folder if the run is not where it was started."""
    if not output or not (directory or is_remote(output) or os.path.isabs(output)):
        return []
    if is_remote(output) or is_remote(folder):
        same = output.rstrip("/") == str(folder).rstrip("/")
    else:
        same = os.path.realpath(os.path.join(directory, output)) == os.path.realpath(folder)
    path = str(folder) if is_remote(folder) else os.path.abspath(folder)
    return [] if same else [f"{_OUTPUT}={path}"]
