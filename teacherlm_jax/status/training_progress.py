"""Progress of a training run, from its metrics, validations and checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.runs import layout
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_progress import RunProgress, duration, number, share
from teacherlm_jax.storage.locations import is_remote


def read(run: RunFiles, config: Mapping[str, Any], result: Mapping[str, Any]) -> RunProgress:
    """Return the progress of a training with these settings and, if it finished, this result."""
    rows = [row for row in run.last_rows(layout.METRICS) if number(row.get("step")) is not None]
    last: Mapping[str, Any] = rows[-1] if rows else {}
    total = int(number(config.get("steps")) or 0)
    step = int(number(result.get("step")) or number(last.get("step")) or 0)
    figures: dict[str, Any] = {"step": step, "steps": total}
    for key in ("loss", "accuracy", "tokens_per_second", "mfu", "learning_rate"):
        if (value := number(last.get(key))) is not None:
            figures[key] = value
    lines = [("progress", _progress(figures, result))]
    if "loss" in figures:
        accuracy = f", accuracy {figures['accuracy']:.3f}" if "accuracy" in figures else ""
        lines.append(("loss", f"{figures['loss']:.3f}{accuracy} at step {int(last['step']):,}"))
    left = _seconds_left(rows, step, total)
    if left is not None and not result:
        figures["seconds_left"] = left
        lines.append(("time left", f"about {duration(left)}"))
    lines += _validation(run, figures)
    lines += _checkpoints(run, config, figures)
    short = f"step {step:,}/{total:,}"
    if "loss" in figures:
        short += f", loss {figures['loss']:.3f}"
    return RunProgress(short, tuple(lines), figures)


def _progress(figures: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    step, total = figures["step"], figures["steps"]
    parts = [f"step {step:,} of {total:,}{share(step, total)}"]
    if result.get("stopped_early"):
        parts.append("stopped early")
    if "tokens_per_second" in figures:
        parts.append(f"{figures['tokens_per_second']:,.0f} tokens/s")
    if "mfu" in figures:
        parts.append(f"mfu {figures['mfu']:.2f}")
    return ", ".join(parts)


def _seconds_left(rows: Sequence[Mapping[str, Any]], step: int, total: int) -> float | None:
    """Return the seconds that the steps that are left take at the speed of the last window."""
    if not rows or step >= total:
        return None
    seconds = number(rows[-1].get("seconds"))
    before = rows[-2]["step"] if len(rows) > 1 else 0
    if seconds is None or rows[-1]["step"] <= before:
        return None
    return (total - step) * seconds / (rows[-1]["step"] - before)


def _validation(run: RunFiles, figures: dict[str, Any]) -> list[tuple[str, str]]:
    rows = run.last_rows(layout.VALIDATION)
    if not rows:
        return []
    figures["validation"] = rows[-1]
    measured = {name: number(value) for name, value in rows[-1].items() if name != "step"}
    shown = [f"{name} {value:.3f}" for name, value in measured.items() if value is not None]
    return [("validation", f"{', '.join(shown)} at step {rows[-1].get('step', '?')}")]


def _checkpoints(
    run: RunFiles, config: Mapping[str, Any], figures: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return the line about the last checkpoint; a run without one is lost if it is killed."""
    steps = sorted(int(name) for name in run.entries(layout.CHECKPOINTS) if name.isdigit())
    if is_remote(run.folder):
        steps = [
            step for step in steps if run.has(f"{layout.CHECKPOINTS}/{step}/{layout.COMMIT_MARK}")
        ]
    figures["checkpoints"] = steps
    if not steps:
        every = number(dict(config.get("checkpoint") or {}).get("every"))
        why = "; config.checkpoint.every is 0, so a crash loses all steps" if every == 0 else ""
        return [("checkpoint", f"none yet{why}")]
    part = f"{layout.CHECKPOINTS}/{steps[-1]}"
    age = run.age(f"{part}/{layout.COMMIT_MARK}" if is_remote(run.folder) else part)
    ago = "" if age is None else f", saved {duration(age)} ago"
    figures["checkpoint_age"] = age
    others = f" (also {_few(steps[:-1])})" if steps[:-1] else ""
    return [("checkpoint", f"step {steps[-1]:,}{ago}{others}")]


def _few(steps: Sequence[int]) -> str:
    return ", ".join([*(["…"] if len(steps) > 3 else []), *(f"{step:,}" for step in steps[-3:])])
