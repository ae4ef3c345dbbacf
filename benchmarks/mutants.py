"""Mutation testing: change one operator, number or condition of a file, and see a test fail.

cosmic-ray makes the mutants; benchmarks/mutants.toml names the files, their tests and the mutants
that are equivalent to the original. Each mutant is tested in a process that is forked after the
libraries have been imported, in a copy of the package. `python -m benchmarks.mutants NAME …` tests
only the files whose path contains a NAME and keeps the recorded figures of the others; with
`--changed`, it tests only those of them that have changed since they were measured.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["CI"] = "true"  # hypothesis then draws the same examples each time, without a deadline

import dataclasses
import difflib
import gc
import importlib
import importlib.metadata
import json
import multiprocessing
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from benchmarks import harness, mutant_files
from teacherlm_jax.runs import versions

PAGE = harness.ROOT / "docs" / "explanation" / "tests.md"
COPIED = ("teacherlm_jax", "tests", "configs")
PYTEST = (
    *("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:anyio"),
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
)
COLUMNS = ("possible", "tested", "killed", "survived", "equivalent")
OUTPUT = "output.txt"  # output of the last test run
OWN_PACKAGES = ("teacherlm_jax", "benchmarks")  # imported again in every forked process
PRELOADED = (
    *("array_record", "etils.epath", "flax.nnx", "hypothesis", "jax.numpy"),
    *("jaxtyping", "ml_collections", "optax", "orbax.checkpoint", "pyarrow.parquet"),
    *("sentencepiece", "tokenizers"),
)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A changed file: its text, the number of the changed line, and that line after the change."""

    code: str
    line: int
    changed: str


def mutants_of(code: str, operators: re.Pattern[str]) -> list[Mutant]:
    """Return all mutants of `code` that compile and differ, in the order of their lines."""
    mutants: dict[str, Mutant] = {}
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if not operators.fullmatch(name.partition("/")[2]) or operator.arguments():
            continue
        nodes = ast_nodes(get_ast(code))
        places = [node for node in nodes for _ in operator().mutation_positions(node)]
        for occurrence, node in enumerate(places):
            if node.parent and node.parent.type == "parameters":  # the * before keyword arguments
                continue
            mutated = mutate_code(code, operator(), occurrence)
            if mutated and mutated != code and _compiles(mutated):
                mutants.setdefault(mutated, Mutant(mutated, *_difference(code, mutated)))
    return sorted(mutants.values(), key=lambda mutant: (mutant.line, mutant.changed))


def _compiles(code: str) -> bool:
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(code: str, mutated: str) -> tuple[int, str]:
    """Return the number of the first changed line, and what replaces the changed lines."""
    before, after = code.splitlines(), mutated.splitlines()
    for tag, start, _, low, high in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if tag != "equal":
            lines = after[low:high] or ["(deleted) " + before[start].strip()]
            return start + 1, " ".join(" ".join(lines).split())
    raise ValueError("the mutant equals the original")


def _run_tests(folder: Path, arguments: list[str]) -> None:
    """Run pytest on the copy in `folder` and exit with its status; for a forked process."""
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in list(sys.modules):
        if name.partition(".")[0] in OWN_PACKAGES:
            del sys.modules[name]
    status = int(pytest.main(arguments))
    sys.stdout.flush()
    os._exit(status)


def exit_status(folder: Path, arguments: list[str], seconds: float | None) -> int | None:
    """Return pytest's exit status in `folder`, or None if it took more than `seconds`."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_run_tests, args=(folder, arguments))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def results(
    folder: Path, file: dict[str, Any], mutants: list[Mutant]
) -> Iterator[tuple[Mutant, int | None]]:
    """Yield each mutant with the exit status of the file's tests; None if they took too long.

    Raises RuntimeError if the tests fail without a mutation.
    """
    arguments = [*PYTEST, *file["tests"]]
    for name in file.get("deselect", ()):
        arguments.append(f"--deselect={file['tests'][0]}::{name}")
    begin = time.monotonic()
    sys.dont_write_bytecode = False  # only for originals: bytecode of mutants could get mixed up
    status = exit_status(folder, arguments, None)
    if status:
        output = (folder / OUTPUT).read_text(encoding="utf-8")
        raise RuntimeError(f"{file['tests']} fail without a mutation:\n{output}")
    sys.dont_write_bytecode = True
    limit = 30 + 3 * (time.monotonic() - begin)
    source = folder / file["source"]
    original = source.read_text(encoding="utf-8")
    for mutant in mutants:
        source.write_text(mutant.code, encoding="utf-8")
        yield mutant, exit_status(folder, arguments, limit)
    source.write_text(original, encoding="utf-8")


def measure(folder: Path, file: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one file; print unexplained survivors, and one line at the end."""
    begin = time.monotonic()
    code = (folder / file["source"]).read_text(encoding="utf-8")
    possible = mutants_of(code, re.compile("|".join(settings["operators"])))
    if stale := file.get("equivalent", {}).keys() - {mutant.changed for mutant in possible}:
        raise ValueError(
            f"{mutant_files.SETTINGS}: no mutant of {file['source']} is one of {sorted(stale)}"
        )
    mutants = possible
    if "sample" in file:
        mutants = random.Random(settings["seed"]).sample(possible, file["sample"])
    equivalent = 0
    survived: list[str] = []
    too_long: list[str] = []
    for mutant, status in results(folder, file, mutants):
        line = f"line {mutant.line}: {mutant.changed}"
        if status is None:
            too_long.append(line)
        elif status == 0 and mutant.changed in file.get("equivalent", {}):
            equivalent += 1
        elif status == 0:
            survived.append(line)
            print(f"{file['source']}: survived: {line}", flush=True)
    killed = len(mutants) - equivalent - len(survived)
    counts = (len(possible), len(mutants), killed, len(survived), equivalent)
    figures: dict[str, Any] = dict(zip(COLUMNS, counts, strict=True))
    print(f"{file['source']}:", ", ".join(f"{figures[c]} {c}" for c in COLUMNS), flush=True)
    minutes = (time.monotonic() - begin) / 60
    lists = {"survivors": survived, "timed_out": too_long}
    known = {
        "minutes": round(minutes, 1),
        "commit": versions.commit(),
        mutant_files.DIGEST: mutant_files.digest(
            file, settings, lambda path: (folder / path).read_text(encoding="utf-8")
        ),
    }
    return figures | known | lists


def report(measured: dict[str, dict[str, Any]]) -> int:
    """Write the table into the page and the figures into the results; return the exit status."""
    total = Counter[str]()
    for figures in measured.values():
        total.update({column: figures[column] for column in COLUMNS})
    rows = [
        [
            f"`{source}`",
            *(figures[column] for column in COLUMNS),
            versions.short_commit(figures["commit"]),
        ]
        for source, figures in measured.items()
    ]
    rows.append(["all", *(total[column] for column in COLUMNS), ""])
    tool = f"cosmic-ray {importlib.metadata.version('cosmic_ray')}"
    count = total["tested"] - total["equivalent"]
    share = total["killed"] / count
    minutes = sum(figures["minutes"] for figures in measured.values())
    text = harness.table(("file", *COLUMNS, "commit"), rows)
    text += f"\n{share:.1%} of the tested mutants that are not equivalent are killed.\n"
    text += f"Measured in {minutes:.0f} minutes on {harness.machine()}; {tool}.\n"
    harness.put_into(PAGE, "mutants", text)
    details = {"tool": tool, "minutes": round(minutes), "files": measured}
    figure = f"{share:.1%} of {count} mutants killed"
    return harness.finish("mutants", figure, "at least 95%", share >= 0.95, details)


def main(words: list[str]) -> int:
    """Test the mutants of the files that the arguments of the command select."""
    settings = mutant_files.settings()
    recorded = harness.RESULTS / "mutants.json"
    before = json.loads(recorded.read_text(encoding="utf-8"))["files"] if recorded.exists() else {}
    files = mutant_files.chosen(words, settings, before)
    if not files:
        print("nothing to test: no file, test or setting has changed since it was measured")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "copy")
        for name in COPIED:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(harness.ROOT / name, folder / name, ignore=ignored)
        shutil.copy(harness.ROOT / "pyproject.toml", folder)
        os.environ.setdefault("TEACHERLM_DATA", str(harness.ROOT.parent / "shared" / "data"))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(temporary, "compiled"))
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for name in PRELOADED:
            importlib.import_module(name)
        gc.freeze()  # the forked processes then share these objects and never collect them
        measured = {file["source"]: measure(folder, file, settings) for file in files}
    known = before | measured
    kept = {f["source"]: known[f["source"]] for f in settings["file"] if f["source"] in known}
    return report(kept)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
