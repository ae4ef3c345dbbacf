"""The outcome in plain text, to be read on a console: a table, some samples, where the page is."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from teacherlm_jax.data.sample import KINDS, LETTERS
from teacherlm_jax.report import accuracy, explanations
from teacherlm_jax.report.accuracy import QuestionSet
from teacherlm_jax.report.blocks import count, interval, percent
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.examples import Example, examples
from teacherlm_jax.runs import layout

_WIDTH = 100  # columns
_SHOWN = 3

Line = tuple[str, ...]  # of the table: a title alone, or cells


def summary(title: str, runs: Sequence[RunRecord], root: Path | str, folder: Path) -> str:
    """All of it; `folder` is where the page lies."""
    parts = [ruled(title, "=")]
    if table := [*_accuracies(runs, root), *_gates(runs)]:
        parts.append(aligned(table))
    parts += _samples(runs)
    if unfinished := [run.name for run in runs if not run.finished]:
        parts.append("\n".join(["Unfinished", *(f"  {name}" for name in unfinished)]))
    page = (folder / layout.REPORT_HTML).absolute()
    parts.append(f"{ruled('The whole report', '-')}\n{page}")
    return "\n\n".join(parts) + "\n"


def ruled(title: str, mark: str) -> str:
    """A title and a line of marks under it."""
    return f"{title}\n{mark * len(title)}"


def _accuracies(runs: Sequence[RunRecord], root: Path | str) -> list[Line]:
    """Every set of questions with its models, students apart from the others."""
    taught = _students(runs)
    lines: list[Line] = []
    for sets in accuracy.by_benchmark(runs, root).values():
        for asked in sets:
            lines += [(), *_accuracy_lines(asked, taught)]
    return lines


def _accuracy_lines(asked: QuestionSet, taught: Sequence[Path]) -> list[Line]:
    first = asked.measured[0]
    title = f"Accuracy on {asked.benchmark}, {count(asked.rows)} questions"
    if first.macro:
        title += f", mean over {len(first.result['by_subject'])} subjects"
    groups: dict[str, list[Line]] = {"models": [], "students": []}
    for each in asked.measured:
        group = "students" if _below(each.run.result["model"], taught) else "models"
        figures = (f"{percent(each.accuracy)} %", interval(*each.interval))
        groups[group].append((f"  {each.model}", *figures, f"{percent(asked.majority)} %"))
    lines: list[Line] = [(title,)]
    for group, own in groups.items():
        if own:
            lines += [(group, "right", "95 % interval", "majority"), *own]
    return lines


def _gates(runs: Sequence[RunRecord]) -> list[Line]:
    lines: list[Line] = []
    for run in explanations.finished(runs):
        found = run.result["kinds"]
        lines += [(), (f"Explanations in {run.name}, share that passes each gate",)]
        shares = {kind: explanations.gate_shares(each) for kind, each in found.items()}
        lines.append(("kind", "texts", *next(iter(shares.values()))))
        for kind, own in shares.items():
            cells = (
                cell if cell == explanations.NO_GATES else f"{cell} %" for cell in own.values()
            )
            name = f"  {explanations.KIND_NAMES[kind]}"
            lines.append((name, count(found[kind]["count"]), *cells))
    return lines


def aligned(lines: Sequence[Line]) -> str:
    """Lines as one table: names to the left, figures to the right, in common columns."""
    rows = [line for line in lines if len(line) > 1]
    columns = max(len(row) for row in rows)
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(columns)]
    written = []
    for name, *cells in (line or ("",) for line in lines):
        figures = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=False))
        written.append("  ".join([f"{name:<{widths[0]}}", *figures]).rstrip())
        if name and not cells:
            written.append("-" * (sum(widths) + 2 * (columns - 1)))
    return "\n".join(written).strip("\n")


def _samples(runs: Sequence[RunRecord]) -> list[str]:
    """A few annotated samples of every annotation."""
    parts = []
    for run in explanations.finished(runs):
        found = examples(run.path / layout.SAMPLES, _SHOWN)
        if found:
            parts.append(ruled(f"Samples from {run.name}", "-"))
            parts += [_sample(example) for example in found]
    return parts


def _sample(example: Example) -> str:
    sample = example.sample
    lines = [f"{sample.id}  ({sample.source})", *_wrapped("Question", sample.question)]
    for letter, option in zip(LETTERS, sample.options, strict=False):
        lines += _wrapped("", f"({letter}) {option}")
    lines += _wrapped("Answer", example.answer)
    for kind in KINDS:
        if kind in example.written:
            text, gates = example.written[kind]
            lines.append(f"  {explanations.KIND_NAMES[kind]} ({explanations.verdict(gates)})")
            lines += _wrapped("", text or "(nothing)")
    return "\n".join(lines)


def _wrapped(name: str, text: str) -> list[str]:
    """A text beside its name, on lines of at most 100 columns.

    What a teacher writes may hold control characters, which must not reach a terminal.
    """
    shown = "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))
    lead = " " * 12
    return textwrap.wrap(
        shown,
        _WIDTH,
        initial_indent=f"  {name:<10}",
        subsequent_indent=lead,
        break_on_hyphens=False,
    )


def _students(runs: Sequence[RunRecord]) -> list[Path]:
    """Run folders of the students among the trainings.

    A training's model is one when its data was prepared from files below an annotation's run
    folder. Runs that were moved since no longer say so.
    """
    annotated = [run.path for run in runs if run.verb == "annotate"]
    prepared = [
        run.path
        for run in runs
        if run.verb == "prepare" and any(_below(path, annotated) for path in _sources(run))
    ]
    return [
        run.path
        for run in runs
        if run.verb == "train" and _below(run.config.get("data", ""), prepared)
    ]


def _below(path: Path | str, folders: Sequence[Path]) -> bool:
    """Whether the path lies in one of the folders, or is one."""
    whole = Path(os.path.abspath(path))
    return any(whole.is_relative_to(os.path.abspath(folder)) for folder in folders)


def _sources(run: RunRecord) -> list[Path]:
    root = run.config.get("root", "")
    return [Path(root, source["path"]) for source in run.config.get("sources", ())]
