"""Progress of the runs of `prepare`, `evaluate`, `convert` and `star`."""

import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.runs import layout
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_progress import RunProgress, number
from teacherlm_jax.wording import counted

_ROUND = re.compile(r"round-(\d+)")


def of_preparation(
    run: RunFiles, config: Mapping[str, Any], result: Mapping[str, Any]
) -> RunProgress:
    """Return the progress of `prepare`: its mixtures, and the rows that were skipped."""
    names = [mixture["name"] for mixture in config.get("mixtures", ())]
    lines, mixtures = [], {}
    for name in names:
        manifest = run.json(f"{name}/{layout.MANIFEST}")
        if manifest:
            mixtures[name] = {key: manifest.get(key) for key in ("rows", "texts", "tokens")}
            rows, tokens = _count(manifest, "rows"), _count(manifest, "tokens")
            lines.append((name, f"{rows} packed rows, {tokens} tokens"))
        elif run.entries(name):
            size = sum(entry.size for entry in run.entries(name).values())
            lines.append((name, f"being written, {size / 1e6:,.1f} MB so far"))
        else:
            lines.append((name, "not started"))
    figures: dict[str, Any] = {"mixtures": mixtures, "total": len(names)}
    done = f"{len(mixtures)} of {len(names)} mixtures"
    lines.insert(0, ("progress", done))
    lines += _refused(run, figures)
    return RunProgress(done, tuple(lines), figures)


def of_evaluation(
    run: RunFiles, config: Mapping[str, Any], result: Mapping[str, Any]
) -> RunProgress:
    """Return the progress of `evaluate`: its benchmarks, with the accuracy of those scored."""
    names = [benchmark["name"] for benchmark in config.get("benchmarks", ())]
    figures: dict[str, Any] = {"benchmarks": {}, "total": len(names)}
    lines = []
    measured = result.get("benchmarks") or {}
    for name in names:
        if not run.has(layout.predictions(name)):
            lines.append((name, "not scored yet"))
            continue
        accuracy = number(measured.get(name, {}).get("accuracy"))
        figures["benchmarks"][name] = {"accuracy": accuracy}
        shown = "scored; the log has its accuracy" if accuracy is None else f"{accuracy:.1%}"
        lines.append((name, shown if accuracy is None else f"accuracy {shown}"))
    done = f"{len(figures['benchmarks'])} of {len(names)} benchmarks"
    lines.insert(0, ("progress", done))
    if len(names) == 1 and lines[1][1].startswith("accuracy"):
        done = lines[1][1]
    return RunProgress(done, tuple(lines), figures)


def of_conversion(
    run: RunFiles, config: Mapping[str, Any], result: Mapping[str, Any]
) -> RunProgress:
    """Return the progress of the import of a model by `convert`."""
    count = number(result.get("parameters"))
    if count is None:
        source = config.get("source", "the source")
        return RunProgress("reading", (("progress", f"reading {source}"),))
    return RunProgress(
        f"{count:,.0f} parameters",
        (("progress", f"{count:,.0f} parameters, {_count(result, 'bytes')} bytes"),),
        {"parameters": int(count)},
    )


def of_star(run: RunFiles, config: Mapping[str, Any], result: Mapping[str, Any]) -> RunProgress:
    """Return the progress of `star`: the accuracy of each round that was measured."""
    total = int(number(config.get("rounds")) or 0)
    rounds = _rounds(run)
    lines = [("progress", f"{max(0, len(rounds) - 1)} of {total} rounds")]
    for figures in rounds:
        kept = f", kept {figures['kept']:,}" if isinstance(figures.get("kept"), int) else ""
        accuracy = number(figures.get("accuracy"))
        shown = "accuracy unknown" if accuracy is None else f"accuracy {accuracy:.1%}"
        lines.append((f"round {figures.get('round', '?')}", f"{shown}{kept}"))
    return RunProgress(lines[0][1], tuple(lines), {"rounds": rounds, "total": total})


def _rounds(run: RunFiles) -> list[dict[str, Any]]:
    """Return the figures of the rounds that were measured, in order."""
    names = sorted(filter(_ROUND.fullmatch, run.entries()), key=lambda name: int(name[6:]))
    return [figures for name in names if (figures := run.json(f"{name}/{layout.ROUND}"))]


def _refused(run: RunFiles, figures: dict[str, Any]) -> list[tuple[str, str]]:
    count = sum(1 for _ in run.lines(layout.REFUSED))
    figures["refused"] = count
    return [("refused", f"{counted(count, 'row')}, listed in {layout.REFUSED}")] if count else []


def _count(values: Mapping[str, Any], key: str) -> str:
    value = number(values.get(key))
    return "?" if value is None else f"{value:,.0f}"
