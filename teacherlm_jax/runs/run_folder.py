"""Run folders: each verb leaves its config (seeds in it), versions, commit, log and result.

Where several processes work together, the first writes all of it and keeps the lock; the others
know the folder, and what it holds, from the first.
"""

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from teacherlm_jax import __version__
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.storage import files

_RECORDED_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "seqio",
    "tensorflow",
    "sentencepiece",
)


COMMIT = "TEACHERLM_COMMIT"  # says the commit of a tree that was copied without its history

# What a run leaves that was refused before its work began.
_BEFORE_WORK = re.compile(
    r"(config|versions|check)\.json|log\.txt|\.lock|\.work|(.+\.)?refused\.jsonl"
)


class Run:
    """One run folder, open for work.

    Attributes:
        path: the folder.
        log: logger that writes to the console and to `path/log.txt`.
    """

    def __init__(self, path: Path, log: logging.Logger, lock: TextIO | None = None):
        self.path = path
        self.log = log
        self._lock = lock

    @property
    def result(self) -> dict[str, Any] | None:
        """What an earlier invocation finished with; None when the work is not finished."""
        result = self.path / layout.RESULT
        return files.read_json(result) if result.exists() else None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._keep(error)
        self.close()

    def _keep(self, error: BaseException) -> None:
        """Writes what ended the run into the log file; the command says it on the console."""
        said = f"{type(error).__name__}: {error}"
        record = self.log.makeRecord(self.log.name, logging.ERROR, "", 0, said, (), None)
        with contextlib.suppress(OSError):  # such as the full disk that ended the run
            for handler in self.log.handlers:
                if isinstance(handler, _LogFile):
                    handler.handle(record)

    def close(self) -> None:
        """Lets go of the folder: its log and its lock."""
        for handler in list(self.log.handlers):
            handler.close()
            self.log.removeHandler(handler)
        if self._lock is not None:
            self._lock.close()

    def finish(self, result: dict[str, Any]) -> None:
        """Writes `result.json`, which marks the run as finished."""
        files.write_json(self.path / layout.RESULT, result)


class _Follower(Run):
    """The run folder of another process, which writes; of the log, only warnings are shown here."""

    def __init__(self, path: Path, result: dict[str, Any] | None):
        log = logging.Logger(f"teacherlm.{path}", logging.WARNING)
        log.addHandler(_console())
        super().__init__(path, log)
        self._result = result

    @property
    def result(self) -> dict[str, Any] | None:
        """What the folder held when it was opened."""
        return self._result

    def finish(self, result: dict[str, Any]) -> None:
        """Leaves it to the process that writes."""


def open_run(output: str, verb: str, config: Any, *, may_change: tuple[str, ...] = ()) -> Run:
    """Makes or re-opens the folder `output` for `verb` with `config` (a dataclass).

    A folder in which work has begun keeps its config. Opening it with another one raises UserError
    that names a key that differs, unless it begins with one of `may_change`: settings that do not
    decide the result.
    """
    if not output:
        raise UserError(
            "config.output: empty; name the run folder, as in --config.output=runs/mine"
        )
    if "://" in output:
        raise UserError(
            f"config.output={output}: a run folder lies on a file system; mount the bucket, or a "
            "disk that all machines share, and name a folder there"
        )
    path = Path(output)
    opened: list[Run] = []

    def open_here() -> dict[str, Any] | None:
        opened.append(
            _opened(path, {"verb": verb, "config": dataclasses.asdict(config)}, may_change)
        )
        return opened[0].result

    result = distributed.of_first(open_here)
    blind = distributed.without(lambda: (path / layout.CONFIG).exists())
    if blind:
        for each in opened:
            each.close()
        numbers = ", ".join(map(str, blind))
        raise UserError(
            f"{path}: the processes {numbers} do not see this folder; put config.output on a disk "
            "that all hosts share, under one absolute path"
        )
    return opened[0] if opened else _Follower(path, result)


def _opened(path: Path, resolved: dict[str, Any], may_change: tuple[str, ...]) -> Run:
    """The folder, made or held against its config, with its lock taken."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; config.output must name a folder")
    path.mkdir(parents=True, exist_ok=True)
    _refuse_other_config(path, resolved, may_change)
    run = Run(path, _logger(path), _locked(path))
    if run.result is None:  # what a finished run says of itself stays
        earlier = path / layout.VERSIONS
        last = files.read_json(earlier) if earlier.exists() else {}
        before = [*last.pop("before", []), last] if last else []
        files.write_json(path / layout.CONFIG, resolved)
        files.write_json(earlier, _versions() | ({"before": before} if before else {}))
    return run


def _locked(path: Path) -> TextIO:
    """The folder's lock, so that no two processes write into one run."""
    lock = (path / layout.LOCK).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserError(
            f"{path}: another process works in this run folder; wait for it or stop it"
        ) from None
    except OSError:  # a file system without locks
        return lock
    return lock


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and sequences as one dict of dotted keys."""
    items: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and value:
        items = ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        return {prefix: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for key, item in items:
        joined = f"{prefix}{key}" if key.startswith("[") or not prefix else f"{prefix}.{key}"
        flat |= flatten(item, joined)
    return flat


def _is_work(entry: Path) -> bool:
    """Whether a file or folder of a run is of its work; an empty folder is not."""
    if _BEFORE_WORK.fullmatch(entry.name):
        return False
    return not entry.is_dir() or any(entry.iterdir())


def _refuse_other_config(path: Path, resolved: dict[str, Any], may_change: tuple[str, ...]) -> None:
    earlier = path / layout.CONFIG
    if not earlier.exists() or not any(map(_is_work, path.iterdir())):
        return
    before, now = flatten(files.read_json(earlier)), flatten(resolved)
    free = tuple(f"config.{key}" for key in may_change)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key) and not key.startswith(free):
            raise UserError(
                f"{path}: holds a run with {key}={before.get(key)!r}, asked for {now.get(key)!r}; "
                "choose another config.output, or remove the folder to start over"
            )


def _versions() -> dict[str, Any]:
    packages = {}
    for name in _RECORDED_PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "teacherlm_jax": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "processes": distributed.process_count(),
        "commit": os.environ.get(COMMIT) or _commit(),
        "packages": packages,
    }


def _commit() -> str:
    """Commit of the source tree that runs, `+changes` behind it when files differ from it."""
    root = Path(__file__).parents[2]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or not (root / ".git").exists():
        return "unknown"
    return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


class _LogFile(logging.FileHandler):
    """A log file whose full disk ends the run, in place of a traceback on the console a line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Lets the error out that is being handled."""
        raise


def _logger(path: Path) -> logging.Logger:
    log = logging.getLogger(f"teacherlm.{path}")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        handler.close()
        log.removeHandler(handler)
    to_file = _LogFile(path / layout.LOG, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for handler in (to_file, _console()):
        log.addHandler(handler)
    return log


def _console() -> logging.Handler:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler
