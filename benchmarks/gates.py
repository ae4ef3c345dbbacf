"""`make bench-gates`: precision and recall of the gates on explanations with known faults.

Correct explanations of generated samples are made faulty in known ways (`faulty_texts.py`). A gate
must fail the texts with its fault and pass all others. Near duplicates are compared with the exact
similarity of all pairs. If there are real rationale sets in TEACHERLM_DATA (default: the folder
../shared/data next to the checkout), the share of human chains of thought that pass is counted.
"""

import sys
import time
import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Float32

from benchmarks import faulty_texts, harness
from benchmarks.data import DATA
from teacherlm_jax import config
from teacherlm_jax.annotation.gates import gates
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.annotation.gates.near_duplicates import SKETCH, NearDuplicates
from teacherlm_jax.annotation.gates.text_faults import words
from teacherlm_jax.sources import reading
from teacherlm_jax.storage.refused_rows import RefusedRows

SAMPLES, SEED = 1000, 0
SIMILAR = 1500  # pairs of a text and its copy
MANY, SHARD = 1_000_000, 10_000  # texts of a large dataset, and of one of its shards
LIMIT, CLOSE = 0.8, 0.7  # similarity of near duplicates, and of pairs that count neither way
PRECISION, RECALL, HUMAN = 0.99, 0.95, 0.99  # goals
DUPLICATES = "not_duplicate"


class Confusion:
    """Verdicts of one gate, compared with the truth."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[bool, bool]] = Counter()  # (must fail, fails)

    def add(self, must_fail: bool, fails: bool) -> None:
        """Count one text."""
        self.counts[must_fail, fails] += 1

    @property
    def faulty(self) -> int:
        """Number of texts that must fail."""
        return self.counts[True, True] + self.counts[True, False]

    @property
    def precision(self) -> float:
        """Share of the failed texts that must fail."""
        return self.counts[True, True] / (self.counts[True, True] + self.counts[False, True])

    @property
    def recall(self) -> float:
        """Share of the texts that must fail and do."""
        return self.counts[True, True] / self.faulty

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "must_fail": self.faulty,
            "must_pass": self.counts.total() - self.faulty,
            "failed_wrongly": self.counts[False, True],
            "missed": self.counts[True, False],
            "precision": self.precision,
            "recall": self.recall,
        }


def judge() -> tuple[dict[str, Confusion], dict[str, float], float]:
    """Return the verdicts by gate, the recall by fault, and microseconds per text."""
    by_gate = {gate: Confusion() for gate in gates.GATES}
    by_fault = {fault: Confusion() for fault in faulty_texts.FAULTS}
    cases = list(faulty_texts.texts(SAMPLES, SEED))
    start = time.perf_counter()
    verdicts = [gates.verdicts(config.DEFAULT_GATES, case.explained) for case in cases]
    spent = (time.perf_counter() - start) / len(cases)
    for case, passed in zip(cases, verdicts, strict=True):
        passed |= gates.verdicts(["synthetic"], case.explained)
        for gate, confusion in by_gate.items():
            if gate not in case.unjudged:
                must_fail = gate == case.gate or (gate == "synthetic" and bool(case.fault))
                confusion.add(must_fail, not passed[gate])
        if case.fault:
            by_fault[case.fault].add(True, not passed[case.gate])
    recalls = {fault: confusion.recall for fault, confusion in by_fault.items()}
    return by_gate, recalls, spent * 1e6


def judge_harder() -> dict[str, float]:
    """Return the share found of each fault that the gates were not written for."""
    by_fault = {fault: Confusion() for fault in faulty_texts.HARDER}
    for case in faulty_texts.harder_texts(SAMPLES, SEED):
        (passed,) = gates.verdicts([case.gate], case.explained).values()
        by_fault[case.fault].add(True, not passed)
    return {fault: confusion.recall for fault, confusion in by_fault.items()}


def duplicates() -> tuple[Confusion, Confusion, float]:
    """Return the verdicts on near duplicates, with and without close ones, and µs per text."""
    texts = faulty_texts.similar_texts(SIMILAR, SEED)
    start = time.perf_counter()
    detector = NearDuplicates()
    for position, text in enumerate(texts):
        detector.add(position, text)
    detected = detector.duplicates()
    spent = (time.perf_counter() - start) / len(texts)
    everything, clear = Confusion(), Confusion()
    for position, similarity in enumerate(_similarity_to_earlier(texts)):
        everything.add(bool(similarity >= LIMIT), position in detected)
        if not CLOSE <= similarity < LIMIT:
            clear.add(bool(similarity >= LIMIT), position in detected)
    return everything, clear, spent * 1e6


def many() -> tuple[float, float]:
    """Return MiB and seconds to compare the sketches of MANY texts, none of which are alike."""
    texts, random = NearDuplicates(), np.random.default_rng(SEED)
    tracemalloc.start()
    for start in range(0, MANY, SHARD):
        sketches = random.integers(0, 256, (SHARD, SKETCH), np.uint8)
        texts.add_sketches(range(start, start + SHARD), sketches)
    began = time.monotonic()
    texts.duplicates()
    seconds, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20, seconds


def _similarity_to_earlier(texts: list[str]) -> Float32[np.ndarray, " N"]:
    """Return for each text the highest exact similarity to an earlier one."""
    columns: dict[tuple[str, ...], int] = {}
    rows = []
    for text in texts:
        own = words(text)
        trigrams = {tuple(own[start : start + 3]) for start in range(len(own) - 2)}
        rows.append([columns.setdefault(trigram, len(columns)) for trigram in trigrams])
    matrix = np.zeros((len(texts), len(columns)), np.float32)
    for row, own_columns in enumerate(rows):
        matrix[row, own_columns] = 1
    shared = matrix @ matrix.T
    sizes = matrix.sum(axis=1)
    similarity = shared / (sizes[:, None] + sizes[None, :] - shared)
    return np.tril(similarity, -1).max(axis=1)


def human() -> dict[str, dict[str, Any]]:
    """Return by dataset how many chains of thought by people pass, taken as finished."""
    result = {}
    for path in sorted((DATA / "rationale").glob("*.jsonl")):
        source = config.SourceConfig(path.stem, path.name, "cot")
        failed: Counter[str] = Counter(dict.fromkeys(config.DEFAULT_GATES, 0))
        rows = passed = 0
        for sample in reading.read_samples(source, str(path.parent), RefusedRows(None)):
            if text := sample.explanation("cot", "human"):
                judged = GateInput(sample=sample, kind="cot", text=text, finish_reason="eos")
                verdicts = gates.verdicts(config.DEFAULT_GATES, judged)
                failed.update(gate for gate, ok in verdicts.items() if not ok)
                passed += all(verdicts.values())
                rows += 1
        result[path.stem] = {"rows": rows, "passed": passed / rows, "failed": dict(failed)}
    return result


def _tables(
    by_gate: dict[str, Confusion],
    recalls: dict[str, float],
    harder: dict[str, float],
    people: dict[str, dict[str, Any]],
    spent: tuple[float, float],
) -> str:
    """Return the tables of the page."""
    rows = [
        (f"`{gate}`", item.faulty, f"{item.precision:.3f}", f"{item.recall:.3f}")
        for gate, item in by_gate.items()
    ]
    faults = [
        (f"`{faulty_texts.FAULTS[fault][0]}`", fault, f"{recall:.3f}")
        for fault, recall in recalls.items()
    ]
    text = harness.table(("gate", "texts with its fault", "precision", "recall"), rows)
    text += "\n" + harness.table(("gate", "fault", "share found"), faults)
    limits = [
        (f"`{faulty_texts.HARDER[fault][0]}`", fault, f"{recall:.3f}")
        for fault, recall in harder.items()
    ]
    text += "\n" + harness.table(("gate", "harder fault", "share found"), limits)
    if people:
        passed = [
            (name.removesuffix("_train"), item["rows"], f"{100 * item['passed']:.2f}%")
            for name, item in people.items()
        ]
        text += "\n" + harness.table(("dataset", "human texts", "pass all default gates"), passed)
    return (
        f"{text}\nThe gates that are on by default take {spent[0]:.0f} µs per text, and the search "
        f"for near duplicates {spent[1]:.0f} µs.\n"
    )


def main() -> int:
    """Judge all texts; print and save the figures; return the exit status."""
    by_gate, recalls, judging = judge()
    everything, by_gate[DUPLICATES], comparing = duplicates()
    harder, people = judge_harder(), human()
    if not people:
        print(f"{DATA}: no rationale sets; human texts are left out")
    text = _tables(by_gate, recalls, harder, people, (judging, comparing))
    text += (
        f"With similarities between {CLOSE} and {LIMIT}, `{DUPLICATES}` has a precision of "
        f"{everything.precision:.3f}.\n"
    )
    mib, seconds = many()
    text += (
        f"`{DUPLICATES}` compares {MANY:,} texts in {seconds:.0f} s, with {mib:.0f} MiB for their "
        "sketches.\n"
    )
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "gates", text + harness.conditions())
    precision = min(item.precision for item in by_gate.values())
    recall = min(item.recall for item in by_gate.values())
    passed = min((item["passed"] for item in people.values()), default=1.0)
    figure = f"lowest precision {precision:.3f}, recall {recall:.3f}, human texts {passed:.4f}"
    return harness.finish(
        "gates",
        figure,
        f"{PRECISION}, {RECALL}, {HUMAN}",
        precision >= PRECISION and recall >= RECALL and passed >= HUMAN,
        {
            "gates": {gate: item.figures() for gate, item in by_gate.items()},
            f"{DUPLICATES}_with_close_pairs": everything.figures(),
            "recall_by_fault": recalls,
            "recall_by_harder_fault": harder,
            "human": people,
            "microseconds_per_text": {"default_gates": judging, DUPLICATES: comparing},
            "many": {"texts": MANY, "mib": mib, "seconds": seconds},
        },
    )


if __name__ == "__main__":
    sys.exit(main())
