"""The verb `report`: all runs below a folder on one page, in HTML, Markdown and plain text."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair
from etils import epath

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report import (
    accuracy,
    comparison_tables,
    comparisons,
    costs,
    explanations,
    flagged_questions,
    prepared_mixtures,
    sweeps,
    trainings,
)
from teacherlm_jax.report.blocks import NO_FIGURE, Block, Figure, Heading, Notice, Table, count
from teacherlm_jax.report.changed_inputs import REMEDY
from teacherlm_jax.report.collect import RunRecord, find_runs
from teacherlm_jax.report.console_summary import aligned, for_console, summary
from teacherlm_jax.report.data_report import report_data
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.report.page import with_file_names, write
from teacherlm_jax.report.paper.paper_page import report_paper
from teacherlm_jax.report.reading.ratings_report import report_ratings
from teacherlm_jax.report.reading.reading_page import report_samples
from teacherlm_jax.runs.run import Run
from teacherlm_jax.wording import counted, printable


def report(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Write `report.html` (self-contained), `report.md` with `figures/`, and `summary.txt`.

    The summary is also logged; of a long one, only the differences between the models.

    Returns:
        The path of the `page`, the number of `runs` by verb, the names of the `unfinished` and of
        the `refused` runs, the inputs that have `changed` or are `not_compared`, by run, and the
        paired `comparisons`. For `config.data`, `config.samples` and `config.ratings`, see the
        functions called for them.

    Raises UserError if there is no run to report.
    """
    if config.data:
        return report_data(config, run)
    if config.paper:
        return report_paper(config, run)
    if config.samples:
        return report_samples(config, run)
    if config.ratings:
        return report_ratings(config, run)
    runs = find_runs(config.root, run.address)
    lineage = Lineage(runs)
    compared = comparisons.compare(lineage, config.root)
    blocks = _blocks(lineage, config.root, compared)
    text = summary(config.title, lineage, config.root, run.address, compared)
    path = write(run, config.title, _lede(runs), blocks, text)
    run.log.info("%s", for_console(text, compared, run.address))
    run.log.info("%s: %s", path, counted(len(runs), "run"))
    for record in runs:
        for sentence in record.changes.values():
            run.log.warning("%s: %s; %s", record.name, sentence, REMEDY)
        for sentence in record.not_compared.values():
            run.log.warning("%s: %s", record.name, sentence)
    for sentence in lineage.unreadable():
        run.log.warning("%s", sentence)
    return {
        "page": str(path),
        "runs": dict(Counter(record.verb for record in runs)),
        "unfinished": _named(runs, "unfinished"),
        "refused": _named(runs, "refused"),
        "changed": {record.name: sorted(record.changes) for record in runs if record.changes},
        "not_compared": {
            record.name: sorted(record.not_compared) for record in runs if record.not_compared
        },
        "comparisons": compared.figures(),
    }


def charts(root: epath.PathLike) -> dict[str, altair.TopLevelMixin]:
    """Return the figures of a report on all runs below `root` as Altair charts, by name.

    Nothing is written. Raises UserError if `root` is not a folder or contains no run.
    """
    lineage = Lineage(find_runs(root, None))
    blocks = _blocks(lineage, root, comparisons.compare(lineage, root))
    return {
        block.name: block.drawing.chart
        for block in with_file_names(blocks)
        if isinstance(block, Figure)
    }


def comparison_text(root: epath.PathLike) -> str:
    """Return the paired comparisons of all models below `root`, as tables in plain text.

    A sentence for each model whose training is not known follows, and one for each evaluation that
    cannot be compared. Nothing is written. Raises UserError if `root` is not a folder or contains
    no run.
    """
    compared = comparisons.compare(Lineage(find_runs(root, None)), root)
    tables = [aligned(table) for table in comparison_tables.tables(compared)]
    parts = tables or ["No two models answered the same questions."]
    return printable("\n\n".join([*parts, *compared.unknown_trainings(), *compared.problems]))


def _blocks(
    lineage: Lineage, root: epath.PathLike, compared: comparisons.Comparisons
) -> list[Block]:
    runs = lineage.runs
    return [
        *_notices(runs),
        *accuracy.section(lineage, root),
        *comparison_tables.section(compared),
        *flagged_questions.section(lineage, root),
        *explanations.section(runs, root),
        *prepared_mixtures.section(runs),
        *trainings.section(runs, root),
        *sweeps.section(runs, root),
        *costs.section(runs),
        *_all_runs(runs),
    ]


def _named(runs: Sequence[RunRecord], state: str) -> list[str]:
    return [run.name for run in runs if run.state == state]


def _lede(runs: Sequence[RunRecord]) -> str:
    done = [run for run in runs if run.finished]
    verbs = Counter(run.verb for run in done)
    texts = sum(
        kind["count"]
        for run in done
        if run.verb == "annotate"
        for kind in run.result["kinds"].values()
    )
    tokens = sum(run.result["tokens"] for run in done if run.verb == "train")
    return (
        f"{counted(verbs['train'], 'training run')} on {count(tokens)} tokens, "
        f"{counted(verbs['annotate'], 'annotation run')} with {counted(texts, 'explanation')}, and "
        f"{counted(verbs['evaluate'], 'evaluation')}. Every row names its run folder."
    )


def _notices(runs: Sequence[RunRecord]) -> list[Block]:
    """Return a notice for each kind of run that needs attention."""
    groups = (
        (
            "Inputs that changed after a run had finished; its results describe the earlier input: "
            + REMEDY,
            [f"{run.name}: {sentence}" for run in runs for sentence in run.changes.values()],
        ),
        (
            "Inputs that cannot be compared with those of a finished run; they may have changed",
            [f"{run.name}: {sentence}" for run in runs for sentence in run.not_compared.values()],
        ),
        ("Unfinished runs, which have no results yet", _problems(runs, "unfinished")),
        ("Refused runs, which stopped before their work began", _problems(runs, "refused")),
    )
    return [Notice(title, tuple(lines)) for title, lines in groups if lines]


def _problems(runs: Sequence[RunRecord], state: str) -> list[str]:
    return [
        f"{run.name} ({run.verb or 'unreadable'}): {run.problem}"
        for run in runs
        if run.state == state
    ]


def _all_runs(runs: Sequence[RunRecord]) -> list[Block]:
    rows = tuple(
        (
            run.name,
            run.verb or NO_FIGURE,
            run.state,
            str(run.versions.get("commit", NO_FIGURE))[:12],
            run.versions.get("packages", {}).get("jax", NO_FIGURE),
        )
        for run in runs
    )
    return [
        Heading("Runs"),
        Table(
            "All run folders. Each contains the resolved config, versions, log and result of its "
            "run (config.json, versions.json, log.txt, result.json).",
            ("run", "command", "state", "commit", "jax"),
            rows,
            left=(0, 1, 2, 3),
        ),
    ]
