"""`make bench-annotate_overlap`: a trace of `annotate`, and how long the device waits for the host.

A small model with random weights explains generated samples on the CPU. The host reads prompts,
detokenizes, judges and writes texts while the device generates. A traced part of the run gives the
time in which no program of the device was running, and a picture of both timelines.

Host and device share the cores here, so the host slows the device down even if nothing waits; on an
accelerator they do not.
"""

import gzip
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import matplotlib

from benchmarks import annotate_memory, harness
from teacherlm_jax import config
from teacherlm_jax.annotation import session
from teacherlm_jax.generation.engine import HOST_PHASES, WAIT
from teacherlm_jax.pipelines import verbs

matplotlib.use("svg")

from matplotlib import pyplot

ROWS, SLOTS, NEW_TOKENS = 500, 32, 64
# Random weights end no text: without stop strings, all texts of a batch would end together.
STOP = ("a", "e", "s", "t")
LAYERS, WIDTH = 4, 384
FIRST, TEXTS = 200, 150  # the traced texts; a trace of more needs gigabytes
GOAL = 5  # percent of the time in which the device may wait
SHOWN = 0.5  # seconds in the picture
PICTURE = harness.DOCS / "reference" / "annotate_overlap.svg"

Intervals = list[tuple[float, float]]  # begin and end in seconds


def traced(texts: Iterator[Any], folder: Path) -> Iterator[Any]:
    """Yield the texts; write a trace of the generation of some of them."""
    for number, text in enumerate(texts):
        if number == FIRST:
            jax.profiler.start_trace(folder, create_perfetto_trace=True)
        if number == FIRST + TEXTS:
            jax.profiler.stop_trace()
        yield text


def run(folder: Path) -> list[dict[str, Any]]:
    """Annotate, and return the events of the trace."""
    annotate_memory.write_teacher(folder, LAYERS, WIDTH)
    annotate_memory.write_rows(folder / "rows.jsonl", ROWS)
    settings = config.AnnotateConfig(
        output=str(folder / "run"),
        source=config.SourceConfig("toys", str(folder / "rows.jsonl")),
        teachers=config.TeachersConfig(cot=str(folder / "teacher")),
        sampling=config.SamplingConfig(
            temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=NEW_TOKENS, stop=STOP
        ),
        slots=SLOTS,
    )
    write = session.write_explanations
    session.write_explanations = lambda *arguments: traced(write(*arguments), folder / "trace")
    verbs.run("annotate", settings)
    (path,) = (folder / "trace").rglob("perfetto_trace.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def named(events: Iterable[dict[str, Any]], name: str) -> Intervals:
    """Return when the events of a name began and ended."""
    own = [event for event in events if event.get("ph") == "X" and event["name"] == name]
    return sorted((event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6) for event in own)


def united(intervals: Intervals) -> Intervals:
    """Return the union of intervals, which are in the order of their begins."""
    union: Intervals = []
    for begin, end in intervals:
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((begin, end))
    return union


def within(intervals: Intervals, begin: float, end: float) -> Intervals:
    """Return the parts of intervals between two times."""
    parts = [(max(a, begin), min(b, end)) for a, b in intervals]
    return [(a, b) for a, b in parts if a < b]


def length(intervals: Intervals) -> float:
    """Return the sum of the lengths in seconds."""
    return sum(end - begin for begin, end in intervals)


def draw(host: dict[str, Intervals], device: Intervals, begin: float) -> None:
    """Draw a part of both timelines."""
    figure, axes = pyplot.subplots(figsize=(9, 1.9), layout="constrained")
    lanes = {"host": 0, "device": 1}

    def bars(intervals: Intervals, lane: str, color: str, label: str) -> None:
        shown = within(intervals, begin, begin + SHOWN)
        spans = [(1000 * (a - begin), 1000 * (b - a)) for a, b in shown]
        axes.broken_barh(spans, (lanes[lane] - 0.35, 0.7), color=color, label=label)

    bars(device, "device", "#1f4e79", "programs of the device")
    for (name, intervals), color in zip(
        host.items(), ("#8fb8de", "#e08b3e", "#6aa56a", "#dddddd"), strict=True
    ):
        bars(intervals, "host", color, name)
    axes.set_yticks(list(lanes.values()), list(lanes))
    axes.set_xlabel("milliseconds")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    matplotlib.rcParams["svg.hashsalt"] = "annotate_overlap"
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> int:
    """Run the benchmark and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="annotate_overlap") as folder:
        events = run(Path(folder))
    host = {name: named(events, name) for name in HOST_PHASES}
    device = united(named(events, "ThunkExecutor::Execute"))
    # A trace has only what ended before it was stopped: not the programs that were running then.
    begin, end = host[WAIT][0][0], min(host[WAIT][-1][1], device[-1][1])
    device = within(device, begin, end)
    idle = 100 * (1 - length(device) / (end - begin))
    shares = {
        name: 100 * length(within(intervals, begin, end)) / (end - begin)
        for name, intervals in host.items()
    }
    draw(host, device, begin + (end - begin) / 2)
    rows = [(f"host: {name}", f"{share:.1f}%") for name, share in shares.items()]
    rows.append(("device: no program is running", f"{idle:.1f}%"))
    text = harness.table(("timeline", "share of the time"), rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "annotate_overlap", text + harness.conditions())
    return harness.finish(
        "annotate_overlap",
        f"the device waits {idle:.1f} % of the time",
        f"at most {GOAL}%",
        idle <= GOAL,
        {"idle_percent": idle, "host_percent": shares, "seconds": end - begin},
    )


if __name__ == "__main__":
    sys.exit(main())
