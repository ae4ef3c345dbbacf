"""Progress of an annotation, from its plan, its shards, claims and gates, and its logs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.annotation.job.job_files import PARTIAL, JobFolder, JobRecord, shard_name
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.status.log_tail import RunLog
from teacherlm_jax.status.progress import RunProgress, duration, share
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.storage import exchange, files

_MOST = 1000  # files of figures that are read
_RECENT = 60.0  # seconds since the last line of a process that writes explanations
_SPEED = re.compile(r"explanations, (?P<speed>\d+) tokens/s")  # see `annotation.progress`
_LEFT = re.compile(r", (?P<number>[\d.]+) (?P<unit>s|min|hours) left")
_SECONDS = {"s": 1.0, "min": 60.0, "hours": 3600.0}


def read(
    run: RunFiles, config: Mapping[str, Any], result: Mapping[str, Any], logs: Sequence[RunLog]
) -> RunProgress:
    """Return the progress of an annotation with these settings and logs."""
    kinds = [kind for kind, teacher in dict(config.get("teachers") or {}).items() if teacher]
    record = _plan(run)
    if record is None:
        return RunProgress("planning", (("progress", "the plan is not written yet"),))
    folder = JobFolder(run.folder)
    rows = record.shards
    counted = {part: folder.counted(part) for part in (*kinds, layout.SAMPLES)}
    done = Counter[str]()
    for kind in kinds:
        done[kind] = sum(rows[index] for index in counted[kind] if index < len(rows))
        done[kind] += _in_partial_files(run, kind, set(counted[kind]), rows)
    finished = sum(index < len(rows) for index in counted[layout.SAMPLES])
    claimed = len(_claimed(run))
    total = sum(rows) * len(kinds)
    figures: dict[str, Any] = {
        "rows": sum(rows),
        "refused": record.refused,
        "explanations": sum(done.values()),
        "explanations_by_kind": dict(done),
        "total": total,
        "shards": {"done": finished, "claimed": claimed, "total": len(rows),
                   "left": max(0, len(rows) - finished - claimed)},
    }  # fmt: skip
    text = f"{figures['explanations']:,} of {total:,} explanations"
    text += share(figures["explanations"], total)
    lines = [("progress", text + _speed(logs, figures))]
    if "seconds_left" in figures and not result:
        lines.append(("time left", f"about {duration(figures['seconds_left'])}"))
    shards = figures["shards"]
    lines.append((
        "shards",
        f"{finished:,} done, {claimed:,} claimed, {shards['left']:,} left of {len(rows):,}",
    ))  # fmt: skip
    lines += _gates(run, folder, counted, kinds, figures)
    if record.refused:
        lines.append(("refused", f"{record.refused:,} rows, listed in {layout.REFUSED}"))
    return RunProgress(f"{figures['explanations']:,}/{total:,} explanations", tuple(lines), figures)


def _plan(run: RunFiles) -> JobRecord | None:
    if not run.has(layout.JOB):
        return None
    try:
        return JobFolder(run.folder).read_record()
    except UserError as error:
        run.faults.append(str(error))
        return None


def _in_partial_files(run: RunFiles, kind: str, counted: set[int], rows: Sequence[int]) -> int:
    """Return the explanations of a kind in files that are not complete, or not counted yet."""
    part, count = f"{layout.TEXTS}/{kind}", 0
    for index, size in enumerate(rows):
        if index in counted:
            continue
        name = shard_name(index)
        partial = f"{part}/{name}{PARTIAL}"
        if run.has(f"{part}/{name}"):
            count += size
        elif run.has(partial):
            count += min(size, sum(line.endswith(b"\n") for line in run.lines(partial)))
    return count


def _claimed(run: RunFiles) -> set[str]:
    """Return the shards on which a process that is alive has a claim; see `shards.claims`."""
    workers = {name.removesuffix(".json") for name, entry in run.entries(layout.WORKERS).items()
               if (entry.age or 0.0) < _RECENT}  # fmt: skip
    newest: dict[str, int] = {}
    for file in run.entries(layout.CLAIMS):
        name, _, number = file.rpartition(".")
        if number.isdigit() and not name.startswith("."):
            newest[name] = max(int(number), newest.get(name, 0))
    claimed = set()
    for name, highest in newest.items():
        try:
            content = files.read_json(run.folder / layout.CLAIMS / f"{name}.{highest}")
        except UserError:  # released since it was listed
            continue
        if isinstance(content, dict) and content.get("worker") in workers:
            claimed.add(name.partition(".")[0])
    return claimed


def _speed(logs: Sequence[RunLog], figures: dict[str, Any]) -> str:
    """Return the speed of all processes as text, and note it with the time that is left."""
    speeds, parts = [], []
    for log in logs:
        if log.age > _RECENT or not log.records:
            continue
        text = next((record.text for record in reversed(log.records)
                     if _SPEED.search(record.text)), "")  # fmt: skip
        if (speed := _SPEED.search(text)) is not None:
            speeds.append(float(speed["speed"]))
        if (left := _LEFT.search(text)) is not None:
            parts.append(float(left["number"]) * _SECONDS[left["unit"]])
    if not speeds:
        return ""
    figures["tokens_per_second"] = sum(speeds)
    if parts:  # each process counts with its own speed only
        rate = sum(1 / seconds for seconds in parts if seconds)
        figures["seconds_left"] = 1 / rate if rate else 0.0
    return f", {sum(speeds):,.0f} tokens/s"


def _gates(
    run: RunFiles,
    folder: JobFolder,
    counted: Mapping[str, Mapping[int, int]],
    kinds: Sequence[str],
    figures: dict[str, Any],
) -> list[tuple[str, str]]:
    """Return a line for each kind with the explanations that passed the gates."""
    lines, by_kind = [], {}
    for kind in kinds:
        shards = sorted(counted[kind])
        some = shards[-(_MOST // len(kinds)) :]
        paths = [folder.counts(kind, index, counted[kind][index]) for index in some]
        passed, judged, whole, count = Counter[str](), Counter[str](), 0, 0
        for content in exchange.read_each(lambda path: _counts(run, path), paths):
            every = dict.fromkeys(content.get("gates", {}), content.get("count", 0))
            passed.update(content.get("gates", {}))
            judged.update(content.get("judged", every))
            whole += content.get("all_gates", 0)
            count += content.get("count", 0)
        if not judged:
            continue
        by_kind[kind] = {"count": count, "all": whole, "passed": dict(passed),
                         "judged": dict(judged)}  # fmt: skip
        failed = [f"{gate} {passed[gate]:,} of {judged[gate]:,}" for gate in judged
                  if passed[gate] < judged[gate]]  # fmt: skip
        text = f"{whole:,} of {count:,} {kind} passed all"
        text += f"; failed some: {', '.join(failed)}" if failed else ""
        text += f" (in {len(some):,} of {len(shards):,} shards)" if len(some) < len(shards) else ""
        lines.append(("gates", text))
    if by_kind:
        figures["gates"] = by_kind
    return lines


def _counts(run: RunFiles, path: Any) -> dict[str, Any]:
    try:
        content = files.read_json(path)
    except UserError as error:
        if files.exists(path):  # else it was replaced since it was listed
            run.faults.append(str(error))
        return {}
    return content if isinstance(content, dict) else {}
