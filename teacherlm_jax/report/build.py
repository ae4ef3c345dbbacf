"""The report verb: all runs below a folder on one page, in HTML, Markdown and for the console."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report import accuracy, explanations, trainings
from teacherlm_jax.report.blocks import Block, Heading, Notice, Table, count
from teacherlm_jax.report.collect import RunRecord, find_runs
from teacherlm_jax.report.console_summary import summary
from teacherlm_jax.report.data_report import report_data
from teacherlm_jax.report.page import write
from teacherlm_jax.runs.run_folder import Run


def report(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Writes `report.html` (self-contained), `report.md` with `figures/`, and `summary.txt`.

    Returns the page's path, the number of runs by verb, and the names of the unfinished ones; for
    `config.data` see `data.report_data`. Raises UserError when there is no run to report on.
    """
    if config.data:
        return report_data(config, run)
    runs = find_runs(config.root, run.path)
    lede = _lede(runs)
    blocks = [
        *_unfinished(runs),
        *accuracy.section(runs, config.root),
        *explanations.section(runs, config.root),
        *trainings.section(runs, config.root),
        *_all_runs(runs),
    ]
    told = summary(config.title, runs, config.root, run.path)
    path = write(run, config.title, lede, blocks, told)
    run.log.info("%s: %d runs", path, len(runs))
    return {
        "page": str(path),
        "runs": dict(Counter(found.verb for found in runs)),
        "unfinished": [found.name for found in runs if not found.finished],
    }


def _lede(runs: Sequence[RunRecord]) -> str:
    done = [run for run in runs if run.finished]
    verbs = Counter(run.verb for run in done)
    told = [
        _number(verbs["train"], "training"),
        _number(verbs["annotate"], "annotation"),
        _number(verbs["evaluate"], "evaluation"),
    ]
    texts = sum(
        kind["count"]
        for run in done
        if run.verb == "annotate"
        for kind in run.result["kinds"].values()
    )
    tokens = sum(run.result["tokens"] for run in done if run.verb == "train")
    return (
        f"{told[0]} over {count(tokens)} tokens, {told[1]} with {_number(texts, 'explanation')}, "
        f"{told[2]}. Every figure names the run it comes from."
    )


def _number(number: int, thing: str) -> str:
    return f"{count(number)} {thing}{'' if number == 1 else 's'}"


def _unfinished(runs: Sequence[RunRecord]) -> list[Block]:
    lines = tuple(
        f"{run.name} ({run.verb or 'unreadable'}): {run.trouble}"
        for run in runs
        if not run.finished
    )
    return [Notice("Unfinished runs, whose results are missing below", lines)] if lines else []


def _all_runs(runs: Sequence[RunRecord]) -> list[Block]:
    rows = tuple(
        (
            run.name,
            run.verb or "–",
            "finished" if run.finished else "unfinished",
            str(run.versions.get("commit", "–"))[:12],
            run.versions.get("packages", {}).get("jax", "–"),
        )
        for run in runs
    )
    return [
        Heading("Runs"),
        Table(
            "Every run folder that was found. Each holds its resolved config, versions, log and "
            "result (config.json, versions.json, log.txt, result.json).",
            ("run", "verb", "state", "commit", "jax"),
            rows,
            left=(0, 1, 2, 3),
        ),
    ]
