"""The report in plain text for the console: a table, some samples, and the path of the page."""

import textwrap
from collections.abc import Sequence

from etils import epath

from teacherlm_jax.data.sample import KINDS, LETTERS
from teacherlm_jax.report import accuracy, comparison_tables, explanations
from teacherlm_jax.report.accuracy import QuestionSet
from teacherlm_jax.report.blocks import NO_FIGURE, count, interval, percent
from teacherlm_jax.report.changed_inputs import REMEDY
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.comparisons import Comparisons
from teacherlm_jax.report.examples import Example, examples
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import locations
from teacherlm_jax.wording import printable

_WIDTH = 100  # columns
_EXAMPLES = 3  # of each annotation run
_MOST_LINES = 250  # of what a report prints

Line = tuple[str, ...]  # a line of the table: only a title, or a name and its cells


def summary(
    title: str,
    lineage: Lineage,
    root: epath.PathLike,
    folder: epath.Path,
    compared: Comparisons,
) -> str:
    """Return the whole text; `folder` is the folder of the page."""
    runs, parts = lineage.runs, [underlined(title, "=")]
    if table := [*_accuracies(lineage, root), *_gates(runs)]:
        parts.append(aligned(table))
    parts += map(aligned, comparison_tables.tables(compared))
    if lines := compared.unknown_trainings():
        parts.append("\n".join(["Training not found", *(f"  {line}" for line in lines)]))
    parts += _samples(runs)
    for state in ("unfinished", "refused"):
        if names := [run.name for run in runs if run.state == state]:
            parts.append("\n".join([state.capitalize(), *(f"  {name}" for name in names)]))
    changes = [f"  {run.name}: {', '.join(sorted(run.changes))}" for run in runs if run.changes]
    if changes:
        title = f"Inputs that changed after the run had finished: {REMEDY}"
        parts.append("\n".join([*textwrap.wrap(title, _WIDTH), *changes]))
    unknown = [
        f"  {run.name}: {', '.join(sorted(run.not_compared))}" for run in runs if run.not_compared
    ]
    if unknown:
        parts.append("\n".join(["Inputs that cannot be compared", *unknown]))
    page = locations.absolute(folder / layout.REPORT_HTML)
    parts.append(f"{underlined('Full report', '-')}\n{page}")
    return "\n\n".join(parts) + "\n"


def for_console(text: str, compared: Comparisons, folder: epath.Path) -> str:
    """Return what a command prints of the summary: `text`, or a part of it if that is too long.

    The part is the tables of differences and the path of the whole summary in `folder`, or only
    this path if there are no such tables or they are too long as well.
    """
    lines = text.count("\n")
    if lines <= _MOST_LINES:
        return text.rstrip("\n")
    path = locations.absolute(folder / layout.REPORT_TEXT)
    tables = "\n\n".join(map(aligned, comparison_tables.tables(compared)))
    whole = f"The whole summary has {count(lines)} lines: {path}"
    if not tables:
        return whole
    if tables.count("\n") > _MOST_LINES:
        return f"{whole}, with the differences between the models"
    return f"{tables}\n\n{whole}"


def underlined(title: str, mark: str) -> str:
    """Return a title with a line of marks under it."""
    return f"{title}\n{mark * len(title)}"


def _accuracies(lineage: Lineage, root: epath.PathLike) -> list[Line]:
    """Return the lines of every set of questions, with students apart from other models."""
    lines: list[Line] = []
    for sets in accuracy.by_benchmark(lineage, root).values():
        for questions in sets:
            lines += [(), *_accuracy_lines(questions, lineage)]
    return lines


def _accuracy_lines(questions: QuestionSet, lineage: Lineage) -> list[Line]:
    first = questions.models[0]
    title = f"Accuracy on {questions.benchmark}, {count(questions.rows)} questions"
    if first.macro:
        title += f", mean over {len(first.result['by_subject'])} subjects"
    groups: dict[str, list[Line]] = {"models": [], "students": []}
    for model in questions.models:
        training = lineage.training_of(model.run)
        group = "students" if training and lineage.is_student(training) else "models"
        figures = (f"{percent(model.accuracy)}%", interval(*model.interval))
        groups[group].append((f"  {model.model}", *figures, f"{percent(questions.majority)}%"))
    lines: list[Line] = [(title,)]
    for group, own in groups.items():
        if own:
            lines += [(group, "accuracy", "95% CI", "majority"), *own]
    return lines


def _gates(runs: Sequence[RunRecord]) -> list[Line]:
    lines: list[Line] = []
    for run in explanations.finished(runs):
        kinds = run.result["kinds"]
        lines += [(), (f"Explanations in {run.name}, share that passes each gate",)]
        shares = {kind: explanations.gate_shares(figures) for kind, figures in kinds.items()}
        lines.append(("kind", "texts", *next(iter(shares.values()))))
        for kind, own in shares.items():
            cells = (
                cell if cell in (explanations.NO_GATES, NO_FIGURE) else f"{cell}%"
                for cell in own.values()
            )
            name = f"  {explanations.KIND_NAMES[kind]}"
            lines.append((name, count(kinds[kind]["count"]), *cells))
    return lines


def aligned(lines: Sequence[Line]) -> str:
    """Return lines as one table: names on the left, cells aligned on the right."""
    rows = [line for line in lines if len(line) > 1]
    columns = max(len(row) for row in rows)
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(columns)]
    text = []
    for name, *cells in (line or ("",) for line in lines):
        figures = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=False))
        text.append("  ".join([f"{name:<{widths[0]}}", *figures]).rstrip())
        if name and not cells:
            text.append("-" * (sum(widths) + 2 * (columns - 1)))
    return "\n".join(text).strip("\n")


def _samples(runs: Sequence[RunRecord]) -> list[str]:
    """Return a few annotated samples of every annotation run."""
    parts = []
    for run in explanations.finished(runs):
        chosen = examples(run.path / layout.SAMPLES, _EXAMPLES)
        if chosen:
            parts.append(underlined(f"Samples from {run.name}", "-"))
            parts += [sample_text(example) for example in chosen]
    return parts


def sample_text(example: Example) -> str:
    """Return a sample with its explanations and their verdicts, on lines of at most 100 columns.

    Control characters are replaced: a model may generate them, and Python prints this text.
    """
    sample = example.sample
    lines = [f"{sample.id}  ({sample.source})", *_wrapped("Question", sample.question)]
    for letter, option in zip(LETTERS, sample.options, strict=False):
        lines += _wrapped("", f"({letter}) {option}")
    lines += _wrapped("Answer", example.answer)
    for kind in KINDS:
        if kind in example.written:
            text, gates = example.written[kind]
            lines.append(f"  {explanations.KIND_NAMES[kind]} ({explanations.verdict(gates)})")
            lines += _wrapped("", text or "(empty)")
    return printable("\n".join(lines))


def _wrapped(name: str, text: str) -> list[str]:
    """Return a text beside its name, on lines of at most 100 columns."""
    return textwrap.wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=f"  {name:<10}",
        subsequent_indent=" " * 12,
        break_on_hyphens=False,
    )
