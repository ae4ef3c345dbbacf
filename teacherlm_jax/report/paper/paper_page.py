"""The page of `report --paper`: the paper's tables beside our runs, and the cells still empty."""

import collections
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report import comparison_tables
from teacherlm_jax.report.blocks import Block, Heading, Notice, Paragraph, Subheading, Table, count
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.console_summary import underlined
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.report.page import write
from teacherlm_jax.report.paper import (
    augmentation,
    empty_cells,
    explanation_effects,
    names_of_models,
    paper_figures,
    paper_tables,
    printed,
    settings_tables,
)
from teacherlm_jax.report.paper.empty_cells import Coverage
from teacherlm_jax.report.paper.measured import Measured, other_settings
from teacherlm_jax.report.paper.standing import Standing, of_runs
from teacherlm_jax.runs.run import Run


def report_paper(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Write the page, as `report.html`, `report.md` with figures, and `summary.txt`.

    Returns:
        The path of the `page`, the number of `filled` and `empty` cells, the names of the runs
        that `stand_for` a model or dataset of the paper, by that name, and the paired `comparisons`
        of our students with and without explanations.

    Raises UserError if `config.root` is not a folder. It may contain no run yet.
    """
    lineage = Lineage(find_runs(config.root, run.address, may_be_none=True))
    page = PaperPage(lineage)
    title = config.title if config.title != ReportConfig.title else "TeacherLM: the paper and ours"
    lines = [underlined(title, "="), *page.summary]
    path = write(run, title, page.lede, page.blocks(), "\n".join(lines) + "\n")
    for line in page.summary:
        run.log.info("%s", line)
    for line in lineage.unreadable():
        run.log.warning("%s", line)
    run.log.info("%s has the commands that fill the empty cells", path)
    return {
        "page": str(path),
        "filled": len(page.coverage.filled),
        "empty": len(page.coverage.empty),
        "stand_for": page.stand_for,
        "comparisons": page.effects.all().figures(),
    }


class PaperPage:
    """The content of the page.

    Attributes:
        coverage: filled and empty cells.
        effects: our students with and without explanations, compared by their answers.
    """

    def __init__(self, lineage: Lineage):
        """Find out which runs stand for which models of the paper."""
        self._standings = of_runs(lineage)
        self._measured = Measured(self._standings)
        self.coverage: Coverage = empty_cells.coverage(self._measured)
        self.effects = explanation_effects.of_runs(lineage, self._measured.counted)

    @property
    def lede(self) -> str:
        """Paragraph below the title."""
        first, *_ = self.summary
        return (
            f"The tables of TeacherLM ({printed.source()}) beside our runs. {first} by "
            f"{count(sum(bool(standing.name) for standing in self._standings))} runs."
        )

    @property
    def summary(self) -> list[str]:
        """Lines for the log: one on all cells, one for each table, and one on our students."""
        return [*empty_cells.summary(self.coverage), *self.effects.summary]

    @property
    def stand_for(self) -> dict[str, list[str]]:
        """Names of the runs by what they stand for."""
        names = collections.defaultdict(list)
        for standing in self._standings:
            if standing.name:
                names[standing.name].append(standing.run.name)
        return dict(sorted(names.items()))

    def blocks(self) -> list[Block]:
        """Return the content below the lede."""
        measured = self._measured
        return [
            *self._runs(),
            Heading("Teachers"),
            paper_tables.accuracies("teachers", measured),
            *paper_figures.teachers(measured),
            Heading("Data"),
            settings_tables.data(measured),
            settings_tables.corpora(),
            Heading("Subjects of MMLU"),
            *paper_tables.subjects(measured),
            *paper_figures.averages(measured),
            Heading("Multi-task students"),
            *self._students(),
            *paper_figures.students(measured, self.effects),
            Heading("Students of one task"),
            *paper_tables.single_task(measured),
            Heading("Hyper-parameters"),
            settings_tables.teacher_settings(measured),
            settings_tables.student_settings(measured),
            Heading("Figures of the paper"),
            Paragraph(paper_figures.NOTE),
            *empty_cells.section(self.coverage, measured),
        ]

    def _students(self) -> list[Block]:
        effects = self.effects
        pairs = list(effects.pairs.values())
        blocks: list[Block] = [Paragraph(comparison_tables.ABOUT)] if pairs else []
        for benchmark in printed.STUDENT_BENCHMARKS:
            blocks += [
                Subheading(names_of_models.dataset(benchmark)),
                paper_tables.accuracies(f"students_{benchmark}", self._measured),
                augmentation.changes_table(benchmark, self._measured, effects),
                *effects.blocks(benchmark),
            ]
        blocks += [*comparison_tables.unequal_trainings(pairs), *effects.notices()]
        return [*blocks, Subheading("Wins"), augmentation.wins_table(self._measured, effects)]

    def _runs(self) -> list[Block]:
        """Return a table of the runs that stand for something, and a notice of the others."""
        named = [standing for standing in self._standings if standing.name]
        blocks: list[Block] = [Heading("Runs and what they stand for")]
        if named:
            rows = tuple(
                (standing.run.name, standing.run.verb, standing.name, standing.reason)
                for standing in named
            )
            caption = (
                "Runs that stand for a model or a dataset of the paper, and how that is known."
            )
            header = ("run", "command", "stands for", "known from")
            blocks.append(Table(caption, header, rows, left=(0, 1, 2, 3)))
        else:
            blocks.append(Paragraph("No run stands for a model of the paper yet."))
        if lines := _without(self._standings):
            blocks.append(Notice("Runs that stand for nothing in the paper", lines))
        if lines := _other_settings(named):
            blocks.append(Notice("Evaluations with settings that differ from the paper's", lines))
        if self._measured.left_out:
            lines = tuple(self._measured.left_out)
            blocks.append(Notice("Evaluations that are left out of the tables", lines))
        return blocks


def _other_settings(standings: Sequence[Standing]) -> tuple[str, ...]:
    return tuple(
        f"{standing.run.name}: {sentence}"
        for standing in standings
        if standing.run.verb == "evaluate"
        for sentence in other_settings(standing.run)
    )


def _without(standings: Sequence[Standing]) -> tuple[str, ...]:
    return tuple(
        f"{standing.run.name} ({standing.run.verb}): {standing.reason}"
        for standing in standings
        if not standing.name
    )
