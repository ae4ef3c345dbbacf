"""The report on ratings: win rates, mean ratings, and the agreement between readers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Cell,
    Heading,
    Notice,
    Table,
    count,
    interval,
    percent,
)
from teacherlm_jax.report.console_summary import aligned, underlined
from teacherlm_jax.report.explanations import KIND_NAMES
from teacherlm_jax.report.page import write
from teacherlm_jax.report.reading import agreement, chosen_checkpoint, rating_rows, win_rates
from teacherlm_jax.report.reading.agreement import Agreement
from teacherlm_jax.report.reading.rating_rows import TIE, Ratings, ReaderJudgement
from teacherlm_jax.report.reading.win_rates import ALL, MeanRating, WinRate
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import locations
from teacherlm_jax.wording import counted

_KIND = "kind"  # header of the column


def report_ratings(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Write the report on `config.ratings` as `build.report` does on runs, and log its tables.

    Returns the path of the `page`, the figures of the tables, and what `config.select` chose.
    Raises UserError for a line that is not a rating, or if no checkpoint wins.
    """
    ratings = rating_rows.read(config.ratings)
    rates = win_rates.win_rates(ratings.judgements)
    means = win_rates.mean_ratings(ratings.judgements)
    agreed = {
        "preference": agreement.on_preferences(ratings.judgements),
        "rating": agreement.on_ratings(ratings.judgements),
    }
    tables = [_win_table(rates), _mean_table(means), _agreement_table(agreed, ratings)]
    notes = _notes(ratings)
    chosen = None
    if config.select:
        chosen = chosen_checkpoint.choose(config.select, ratings, rates, means)
        notes.append(
            f"Chosen: step {chosen['step']} of {config.select} ({chosen['teacher']}), by its "
            f"{chosen['reason']}"
        )
    title, lede = f"{config.title}: ratings", _lede(ratings)
    headings = ("Win rates", "Mean ratings", "Agreement between readers")
    blocks: list[Block] = [Notice("Ratings", tuple(notes))] if notes else []
    for heading, table in zip(headings, tables, strict=True):
        if table.rows:
            blocks += [Heading(heading), table]
    text = _text(title, lede, headings, tables, notes)
    text += f"\n{locations.absolute(run.address / layout.REPORT_HTML)}\n"
    page = write(run, title, lede, blocks, text)
    run.log.info("%s", text)
    if chosen:
        run.log.info("%s", chosen_checkpoint.advice(config.select))
    return {
        "page": str(page),
        "judgements": len(ratings.judgements),
        "readers": dict(Counter(judgement.reader for judgement in ratings.judgements)),
        "win_rates": [rate._asdict() for rate in rates],
        "mean_ratings": [mean._asdict() for mean in means],
        "agreement": {name: own._asdict() for name, own in agreed.items()},
        "left_preferred": _left_share(ratings.judgements),
        **({"selected": chosen} if chosen else {}),
    }


def _lede(ratings: Ratings) -> str:
    samples = len({judgement.sample for judgement in ratings.judgements})
    readers = Counter(judgement.reader for judgement in ratings.judgements)
    named = ", ".join(f"{name} {count(number)}" for name, number in sorted(readers.items()))
    return (
        f"{counted(len(ratings.judgements), 'judgement')} on {counted(samples, 'sample')} by "
        f"{counted(len(readers), 'reader')} ({named})."
    )


def _notes(ratings: Ratings) -> list[str]:
    notes = []
    if ratings.replaced:
        notes.append(
            "Earlier judgements of the same reader on the same explanations, replaced by later "
            f"ones: {count(ratings.replaced)}"
        )
    if (left := _left_share(ratings.judgements)) is not None:
        notes.append(f"The left side was preferred in {percent(left)} % of decided comparisons")
    return notes


def _left_share(judgements: Sequence[ReaderJudgement]) -> float | None:
    """Return the share of the left side among decided comparisons; far from half, it is a bias."""
    decided = [judgement for judgement in judgements if judgement.preferred not in ("", TIE)]
    if not decided:
        return None
    left = sum(judgement.preferred == judgement.teachers[0] for judgement in decided)
    return left / len(decided)


def _win_table(rates: Sequence[WinRate]) -> Table:
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            f"{rate.first} against {rate.second}",
            Cell(percent(rate.share), beside=interval(*rate.interval)),
            _kind(rate.kind),
            *map(count, (rate.samples, rate.wins, rate.ties, rate.losses)),
        )
        for rate in rates
    )
    return Table(
        "Share of the comparisons that the first teacher wins, in per cent; a tie counts half. "
        "Beside it its 95% CI, Wilson's, widened where a sample was judged more than once. "
        "If all of it is above 50, the first teacher is better.",
        ("teachers", "win rate", _KIND, "samples", "wins", "ties", "losses"),
        rows,
        left=(0, 2),
    )


def _mean_table(means: Sequence[MeanRating]) -> Table:
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            mean.teacher,
            Cell(
                f"{mean.mean:.2f}",
                beside="{:.2f} to {:.2f}".format(*mean.interval) if mean.interval else "",
            ),
            _kind(mean.kind),
            count(mean.ratings),
        )
        for mean in means
    )
    return Table(
        "Mean ratings, from 1 to 5. Beside each its 95% CI by Student's t, clustered by sample; "
        "none for a single sample or equal ratings.",
        ("teacher", "mean", _KIND, "ratings"),
        rows,
        left=(0, 2),
    )


def _agreement_table(agreed: dict[str, Agreement], ratings: Ratings) -> Table:
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            name,
            count(own.units),
            NO_FIGURE if own.equal is None else percent(own.equal),
            NO_FIGURE if own.alpha is None else f"{own.alpha:.3f}",
        )
        for name, own in agreed.items()
        if own.units
    )
    return Table(
        f"Agreement between {len(ratings.readers)} readers on what at least two of them judged: "
        "per cent of equal judgements, and Krippendorff's alpha for ordered values (1: perfect; 0: "
        "that of chance).",
        ("judgement", "judged twice", "equal", "alpha"),
        rows,
    )


def _kind(kind: str) -> str:
    return ALL if kind == ALL else KIND_NAMES[kind]


def _text(
    title: str,
    lede: str,
    headings: Sequence[str],
    tables: Sequence[Table],
    notes: Sequence[str],
) -> str:
    """Return the report in plain text."""
    parts = [underlined(title, "="), lede]
    for heading, table in zip(headings, tables, strict=True):
        if table.rows:
            parts.append(f"{underlined(heading, '-')}\n{aligned(_lines(table))}")
    parts += notes
    return "\n\n".join(parts) + "\n"


def _lines(table: Table) -> list[tuple[str, ...]]:
    """Return the lines of a table in plain text: kinds beside names, intervals in a column."""
    if _KIND not in table.header:
        return table.lines
    name, value, kind, *others = table.header
    lines = [(f"{name}, {kind}", value, "95% CI", *others)]
    for texts, row in zip(table.lines[1:], table.rows, strict=True):
        cell = row[1]
        assert isinstance(cell, Cell)
        lines.append((f"{texts[0]}, {texts[2]}", cell.text, cell.beside or NO_FIGURE, *texts[3:]))
    return lines
