"""Progress of an annotation, from its plan, its shards, claims and gates, and its logs."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from teacherlm_jax import wording
from teacherlm_jax.annotation.job.job_files import JobFolder, JobRecord, shard_name
from teacherlm_jax.errors import MissingFile, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.status.log_tail import RunLog
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_progress import RunProgress, duration, share
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
        return RunProgress("", (("progress", "its plan is not known"),))
    folder, rows = JobFolder(run.folder), record.shards
    counted = {part: folder.counted(part) for part in (*kinds, layout.SAMPLES)}
    done = {kind: _explanations(run, kind, counted[kind], rows) for kind in kinds}
    number, total = sum(done.values()), sum(rows) * len(kinds)
    figures: dict[str, Any] = {
        "rows": sum(rows),
        "refused": record.refused,
        "explanations": number,
        "explanations_by_kind": done,
        "total": total,
    }
    text = f"{number:,} of {total:,} explanations{share(number, total)}"
    lines = [("progress", text + _speed(logs, figures))]
    if "seconds_left" in figures and not result:
        lines.append(("time left", f"about {duration(figures['seconds_left'])}"))
    lines.append(("shards", _shards(run, counted[layout.SAMPLES], len(rows), figures)))
    lines += _gates(run, folder, counted, kinds, figures)
    if record.refused:
        lines.append(
            ("refused", f"{wording.counted(record.refused, 'row')}, listed in {layout.REFUSED}")
        )
    return RunProgress(f"{number:,}/{total:,} explanations", tuple(lines), figures)


def _shards(run: RunFiles, finished: Collection[int], total: int, figures: dict[str, Any]) -> str:
    """Return the states of the shards as text, and note their numbers."""
    done, claimed = sum(index < total for index in finished), len(_claimed(run))
    left = max(0, total - done - claimed)
    figures["shards"] = {"done": done, "claimed": claimed, "left": left, "total": total}
    return f"{done:,} done, {claimed:,} claimed, {left:,} left of {total:,}"


def _plan(run: RunFiles) -> JobRecord | None:
    if not run.has(layout.JOB):
        return None
    try:
        return JobFolder(run.folder).read_record()
    except UserError as error:
        run.faults.append(str(error))
        return None


def _explanations(run: RunFiles, kind: str, counted: Collection[int], rows: Sequence[int]) -> int:
    """Return the number of explanations of a kind, also of those in files that are not complete.

    Args:
        run: files of the job.
        kind: the kind.
        counted: shards whose file of this kind is complete and counted.
        rows: rows of each shard.
    """
    count = 0
    for index, size in enumerate(rows):
        path = f"{layout.TEXTS}/{kind}/{shard_name(index)}"
        if index in counted or run.has(path):
            count += size
        elif run.has(f"{path}{files.PARTIAL}"):
            lines = run.lines(f"{path}{files.PARTIAL}")
            count += min(size, sum(line.endswith(b"\n") for line in lines))
    return count


def _claimed(run: RunFiles) -> set[str]:
    """Return the shards on which a process that is alive has a claim; see `shards.claims`."""
    workers = {name.removesuffix(".json") for name, entry in run.entries(layout.WORKERS).items()
               if (entry.age or 0.0) < _RECENT}  # fmt: skip
    claimed = set()
    for file, entry in run.entries(layout.CLAIMS).items():
        name, _, number = file.rpartition(".")
        if not number.isdigit() or name.startswith("."):
            continue
        try:
            content = files.read_json(run.folder / layout.CLAIMS / file)
        except MissingFile:  # released since it was listed
            continue
        except UserError as error:
            if (entry.age or 0.0) > _RECENT:  # otherwise, it may be about to be written
                run.faults.append(str(error))
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
        text = f"{kind}: {whole:,} of {count:,} passed all"
        some_failed = [gate for gate in judged if passed[gate] < judged[gate]]
        shares = [f"{gate} {passed[gate]:,} of {judged[gate]:,}" for gate in some_failed]
        text += "".join(f", {share}" for share in shares)
        text += f" (in {len(some):,} of {len(shards):,} shards)" if len(some) < len(shards) else ""
        lines.append(("gates", text))
    if by_kind:
        figures["gates"] = by_kind
    return lines


def _counts(run: RunFiles, path: Any) -> dict[str, Any]:
    try:
        content = files.read_json(path)
    except MissingFile:  # replaced since it was listed
        return {}
    except UserError as error:
        run.faults.append(str(error))
        return {}
    return content if isinstance(content, dict) else {}
