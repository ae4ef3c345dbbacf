"""Tables and figures of docs/explanation/evidence.md, from the recorded outcomes alone."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import altair
import vl_convert

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.comparisons import Comparison
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT
from teacherlm_jax.pipelines.evidence_steps.study_teachers import MAIN_SIZE

PAGE = harness.DOCS / "explanation" / "evidence.md"
FIGURE = PAGE.parent / "evidence-students.svg"
HYPOTHESES = 5
SIGNIFICANT = 0.05
BUDGETS = ("steps", "tokens", "passes")
Rows = Sequence[Mapping[str, Any]]


def write(part: str, recorded: Mapping[str, Any]) -> None:
    """Replace the tables of a part on the page."""
    text = TABLES[part](recorded["rows"])
    harness.put_into(PAGE, part, f"{text}\n{recorded['conditions']}")


def write_figure(rows: Rows) -> None:
    """Replace the figure of the students on the page."""
    FIGURE.write_text(vl_convert.vegalite_to_svg(figure(rows).to_json()), encoding="utf-8")
    link = f"![Accuracy of each form minus that of text, with intervals]({FIGURE.name})\n"
    harness.put_into(PAGE, "figure", link)


def primary(rows: Mapping[str, Rows]) -> dict[str, Comparison]:
    """Return the primary comparisons of the protocol that have outcomes, by their question."""
    students, teachers, writers = (
        rows.get(name, ()) for name in ("students", "teachers", "writers")
    )
    found = {
        f"{name}: CMF against text, equal {budget}": comparisons.of_students(
            students, "CMF", "text", MAIN_AMOUNT, budget
        )
        for name, budget in (("H1", "passes"), ("H2", "tokens"))
    }
    found["H3: CMF against permuted explanations, equal steps"] = comparisons.of_students(
        students, "CMF", "CMF-permuted", MAIN_AMOUNT, "steps"
    )
    found["H4: staged against no stage, letters"] = staged(teachers, MAIN_SIZE, "trained")
    found["H5: staged against no stage, explanations"] = explained(writers, MAIN_SIZE, "stage2")
    return {name: one for name, one in found.items() if one is not None}


def staged(rows: Rows, size: str, benchmark: str) -> Comparison | None:
    """Compare accuracies after stage 2 with those of the control, in points."""
    values = {
        (row["stage"], row["seed"]): 100 * row[benchmark] for row in rows if row["size"] == size
    }
    return _paired(values, "stage2", "no_stage")


def explained(rows: Rows, size: str, writer: str, kind: str = "") -> Comparison | None:
    """Compare the share of correct explanations with that of the control, in points.

    Without a kind, the mean of all three.
    """
    values = {
        (row["writer"], row["seed"]): 100
        * (row["correct"][kind] if kind else statistics.fmean(row["correct"].values()))
        for row in rows
        if row["size"] == size
    }
    return _paired(values, writer, "no_stage")


def _paired(values: Mapping[tuple[str, int], float], arm: str, other: str) -> Comparison | None:
    seeds = sorted(seed for name, seed in values if name == arm and (other, seed) in values)
    differences = tuple(values[arm, seed] - values[other, seed] for seed in seeds)
    return Comparison(differences) if differences else None


def shown(comparison: Comparison | None) -> str:
    """Return a difference with its interval, such as `+1.2 ± 0.8`."""
    if comparison is None:
        return ""
    half = f" ± {comparison.half:.1f}" if len(comparison.differences) > 1 else ""
    return f"{comparison.mean:+.1f}{half}"


def _primary_table(rows: Mapping[str, Rows]) -> str:
    found = primary(rows)
    # The protocol adjusts for all hypotheses, so those without outcomes count as not shown.
    missing = {f"missing {index}": 1.0 for index in range(HYPOTHESES - len(found))}
    adjusted = comparisons.holm({name: one.p for name, one in found.items()} | missing)
    header = (
        "comparison",
        "difference, points",
        "seeds",
        "p",
        "p (Holm)",
        "verdict",
        "seeds needed",
    )
    return harness.table(
        header,
        [
            (
                name,
                shown(one),
                len(one.differences),
                f"{one.p:.3f}",
                f"{adjusted[name]:.3f}",
                verdict(one, adjusted[name]),
                one.needed(SIGNIFICANT / HYPOTHESES),
            )
            for name, one in found.items()
        ],
    )


def verdict(comparison: Comparison, p: float) -> str:
    """Return what the protocol concludes from an interval and its adjusted p-value."""
    if p >= SIGNIFICANT or abs(comparison.mean) <= comparison.half:
        return "undecided"
    return "supported" if comparison.mean > 0 else "contradicted"


def _student_tables(rows: Rows, base: str = "text") -> str:
    amounts = sorted({row["amount"] for row in rows})
    return "\n".join(_student_table(rows, amount, base) for amount in amounts)


def _student_table(rows: Rows, amount: int, base: str) -> str:
    """Return accuracies of students with `amount` samples, and differences from `base`."""
    of_amount = [row for row in rows if row["amount"] == amount]
    arms = dict.fromkeys(row["arm"] for row in of_amount)
    lines = []
    for arm in sorted(arms, key=lambda arm: arm != base):
        each = [row for row in of_amount if row["arm"] == arm]
        accuracy = statistics.fmean(row["curve"][-1][1] for row in each)
        tokens = statistics.fmean(row["tokens"] for row in each)
        passes = statistics.fmean(row["tokens"] / row["pass_tokens"] for row in each)
        differences = [
            "" if arm == base else shown(comparisons.of_students(rows, arm, base, amount, one))
            for one in BUDGETS
        ]
        lines.append(
            [arm, f"{100 * accuracy:.1f}", *differences, f"{tokens / 1e6:.2f}", f"{passes:.1f}"]
        )
    header = (f"{amount} samples", "accuracy, %", *(f"equal {one}" for one in BUDGETS))
    return harness.table((*header, "million tokens", "passes"), lines)


def _stage_table(rows: Mapping[str, Rows]) -> str:
    lines = []
    for size in dict.fromkeys(row["size"] for row in rows["teachers"]):
        of_size = [row for row in rows["teachers"] if row["size"] == size]
        parameters = of_size[0]["parameters"]
        letters = (staged(of_size, size, one) for one in ("trained", "unseen"))
        kinds = (explained(rows["writers"], size, "stage2", kind) for kind in KINDS)
        lines.append([f"{size}, {parameters:,}", *map(shown, (*letters, *kinds))])
    header = ("size, parameters", "letters", "letters, held-out families", *KINDS)
    return harness.table(header, lines)


def _level_table(rows: Mapping[str, Rows]) -> str:
    """Return mean accuracies of teachers, in percent."""
    of_model: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows["teachers"]:
        of_model.setdefault((row["size"], row["stage"]), []).append(row)
    lines = [
        [*model, *(_percent(row[name] for row in each) for name in ("trained", "unseen"))]
        for model, each in sorted(of_model.items())
    ]
    return harness.table(("size", "stage", "letters, %", "held-out families, %"), lines)


def _correct_table(rows: Rows) -> str:
    """Return shares of correct explanations by their writer, in percent."""
    of_writer: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in rows:
        of_writer.setdefault((row["size"], row["writer"]), []).append(row["correct"])
    lines = [
        [*writer, *(_percent(correct[kind] for correct in each) for kind in KINDS)]
        for writer, each in sorted(of_writer.items())
    ]
    return harness.table(("size", "writer", *(f"correct {kind}, %" for kind in KINDS)), lines)


def _percent(shares: Iterable[float]) -> str:
    return f"{100 * statistics.fmean(shares):.1f}"


TABLES = {
    "students": _student_tables,
    **dict.fromkeys(("forms", "amounts"), _student_tables),
    "causes": lambda rows: _student_tables(rows, "CMF"),
    "written": lambda rows: (
        f"{_student_tables(rows['students'], 'CMF')}\n{_correct_table(rows['writers'])}"
    ),
    "stages": lambda rows: "\n".join(
        (_stage_table(rows), _level_table(rows), _correct_table(rows["writers"]))
    ),
    "primary": _primary_table,
}


def figure(rows: Rows) -> altair.Chart:
    """Return the differences to `text` by arm, with intervals: equal passes and equal tokens."""
    points = list(_points(rows))
    amounts = sorted({row["amount"] for row in rows})
    arms = list(dict.fromkeys(point["arm"] for point in points))
    y = altair.Y("arm:N", sort=arms, title=None)
    x = altair.X("mean:Q", title="accuracy minus that of text, points")
    # The layers have no data of their own: the facet gives each of them its part.
    layers = altair.layer(
        altair.Chart().mark_rule(color="#9aa0a6").encode(x=altair.datum(0)),
        altair.Chart().mark_rule(color="#3b6ea5").encode(x="low:Q", x2="high:Q", y=y),
        altair.Chart()
        .mark_point(filled=True, size=40, color="#3b6ea5", opacity=1)
        .encode(x=x, y=y),
        data=altair.Data(values=points),
    ).properties(width=190, height=170)
    columns = [f"{amount} samples" for amount in amounts]
    return layers.facet(
        column=altair.Column("amount:N", sort=columns, title=None),
        row=altair.Row("budget:N", sort=["equal passes", "equal tokens"], title=None),
    )


def _points(rows: Rows) -> Iterator[dict[str, Any]]:
    arms = [arm for arm in dict.fromkeys(row["arm"] for row in rows) if arm != "text"]
    for amount in sorted({row["amount"] for row in rows}):
        for budget in ("passes", "tokens"):
            for arm in arms:
                one = comparisons.of_students(rows, arm, "text", amount, budget)
                if one is not None:
                    yield {
                        "arm": arm,
                        "amount": f"{amount} samples",
                        "budget": f"equal {budget}",
                        "mean": one.mean,
                        "low": one.mean - min(one.half, 100),
                        "high": one.mean + min(one.half, 100),
                    }
