"""Comparisons and tables of the study of stages and explanations."""

import math
import re

import pytest

from benchmarks.evidence import comparisons, real_tables, student_tables, tables
from benchmarks.evidence.comparisons import Comparison, Missing
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError


def test_an_accuracy_between_two_validations_is_interpolated():
    curve = [(100, 0.5), (200, 0.7)]
    assert comparisons.accuracy_at(curve, 150) == pytest.approx(0.6)
    assert comparisons.accuracy_at(curve, 200) == 0.7
    with pytest.raises(ValueError, match="step 90 is not between 100 and 200"):
        comparisons.accuracy_at(curve, 90)


def compact(text):
    """Return a table with one space around each cell."""
    return re.sub(" +", " ", text)


def student(arm, seed, curve, pass_tokens, tokens=1000):
    return {
        "arm": arm,
        "amount": 10,
        "texts": 10,
        "seed": seed,
        "curve": curve,
        "steps": curve[-1][0],
        "tokens": tokens,
        "pass_tokens": pass_tokens,
    }


def test_students_are_compared_at_the_largest_budget_that_both_reached():
    rows = [
        student("text", 0, [(20, 0.1), (50, 0.4), (100, 0.8)], pass_tokens=50),
        student("CMF", 0, [(50, 0.5), (100, 0.7)], pass_tokens=100, tokens=800),
        student("CMF", 1, [(50, 0.5), (100, 0.7)], pass_tokens=100),  # no partner
    ]
    differences = {
        budget: comparisons.of_arms(rows, "CMF", "text", 10, budget).differences
        for budget in student_tables.BUDGETS
    }
    assert differences["steps"] == pytest.approx((100 * (0.7 - 0.8),))
    assert differences["tokens"] == pytest.approx((100 * (0.7 - 0.64),))
    # CMF made 8 passes of 100 tokens, which text made after step 40.
    assert differences["passes"] == pytest.approx((100 * (0.7 - 0.3),))
    assert comparisons.of_arms(rows, "C", "text", 10, "steps") is Missing.SEEDS
    rows.append(student("C", 0, [(50, 0.5), (100, 0.7)], pass_tokens=5000))
    # At equal passes, text would be read at step 1.
    assert comparisons.of_arms(rows, "C", "text", 10, "passes") is Missing.BUDGET


def test_a_table_has_the_seeds_that_all_of_its_arms_have():
    curves = {("text", 0): 0.5, ("text", 1): 0.9, ("CMF", 0): 0.7, ("CMF", 2): 0.1}
    rows = [
        student(arm, seed, [(50, 0.3), (100, accuracy)], pass_tokens=50)
        for (arm, seed), accuracy in curves.items()
    ]
    text = compact(student_tables.student_table(rows, ("text", "CMF", "C"), 10))
    assert "| text | 1 | 10 | 20.0 | 0.00 | 50.0 | | | | |" in text
    assert "| CMF | 1 | 10 | 20.0 | 0.00 | 70.0 | +20.0 |" in text


def test_a_table_without_common_seeds_says_so_and_one_without_its_base_is_empty():
    rows = [
        student(arm, seed, [(50, 0.3), (100, 0.5)], pass_tokens=50)
        for arm, seed in (("text", 0), ("CMF", 1))
    ]
    expected = "*No seed has all of these arms.*\n"
    assert student_tables.student_table(rows, ("text", "CMF"), 10) == expected
    assert student_tables.student_table(rows, ("C", "CMF"), 10) == ""


def test_the_last_six_validations_are_compared_at_equal_steps():
    curves = {"text": [0.9, *[0.5] * 5, 0.8], "CMF": [0.9, *[0.6] * 5, 0.4]}
    rows = [
        student(arm, 0, list(enumerate(curve, 1)), pass_tokens=50) for arm, curve in curves.items()
    ]
    text = compact(student_tables.student_table(rows, ("text", "CMF"), 10))
    # The last validation says -40; the mean of six is 0.567 against 0.550.
    assert "| 40.0 | -40.0 | -40.0 | -40.0 | +1.7 |" in text


def test_the_forms_are_compared_with_text_and_with_cmf():
    rows = [
        student(arm, 0, [(50, 0.3), (100, accuracy)], pass_tokens=50) | {"amount": 1000}
        for arm, accuracy in (("text", 0.5), ("CMF", 0.6), ("C", 0.9))
    ]
    again = rows[1] | {"part": "causes", "curve": [(50, 0.3), (100, 0.7)]}
    text = compact(tables.TABLES["forms"]({"students": rows, "bases": [again]}))
    from_text, from_cmf, from_again = text.split("\n\n")
    assert "| C | 1 | 10 | 20.0 | 0.00 | 90.0 | +40.0 |" in from_text
    assert "| CMF | 1 | 10 | 20.0 | 0.00 | 60.0 | | | | |" in from_cmf
    assert "| C | 1 | 10 | 20.0 | 0.00 | 90.0 | +30.0 |" in from_cmf
    assert "| CMF, trained again | 1 | 10 | 20.0 | 0.00 | 70.0 | | | | |" in from_again
    assert "| C | 1 | 10 | 20.0 | 0.00 | 90.0 | +20.0 |" in from_again


def test_each_number_of_samples_is_compared_with_text_and_with_permuted_explanations():
    accuracies = {"text": 0.5, "CMF": 0.6, "CMF-permuted": 0.3}
    rows = [
        student(arm, 0, [(50, 0.3), (100, accuracy + more)], pass_tokens=50)
        | {"amount": amount, "texts": amount}
        for amount, more in ((250, 0.0), (1000, 0.1), (4000, 0.2))
        for arm, accuracy in accuracies.items()
    ]
    text = compact(tables.TABLES["amounts"]({"students": rows, "bases": []}))
    for amount, more, (from_text, from_permuted) in (
        (250, 0, text.split("\n\n")[:2]),
        (4000, 20, text.split("\n\n")[2:]),
    ):
        assert f"| text | 1 | {amount} | 20.0 | 0.00 | {50 + more}.0 | | | | |" in from_text
        assert f"| CMF | 1 | {amount} | 20.0 | 0.00 | {60 + more}.0 | +10.0 |" in from_text
        assert f"| CMF-permuted | 1 | {amount} | 20.0 | 0.00 | {30 + more}.0 | -20.0 |" in from_text
        assert f"| CMF | 1 | {amount} | 20.0 | 0.00 | {60 + more}.0 | +30.0 |" in from_permuted


def test_the_causes_are_also_compared_at_equal_losses():
    accuracies = {"text": 0.5, "CMF": 0.6, "CMF-answer": 0.4, "CMF-false100": 0.55}
    accuracies |= {"text-whole-text": 0.7, "CMF-whole-text": 0.8}
    rows = [
        student(arm, 0, [(50, 0.3), (100, accuracy)], pass_tokens=50) | {"amount": 1000}
        for arm, accuracy in accuracies.items()
    ]
    text = compact(tables.TABLES["causes"]({"students": rows, "bases": []}))
    from_cmf, all_tokens, of_text, letters = text.split("\n\n")
    assert "| CMF-answer | 1 | 10 | 20.0 | 0.00 | 40.0 | -20.0 |" in from_cmf
    assert "| CMF-whole-text | 1 | 10 | 20.0 | 0.00 | 80.0 | +10.0 |" in all_tokens
    assert "| text-whole-text | 1 | 10 | 20.0 | 0.00 | 70.0 | +20.0 |" in of_text
    assert "| CMF-answer | 1 | 10 | 20.0 | 0.00 | 40.0 | | | | |" in letters
    assert "| text | 1 | 10 | 20.0 | 0.00 | 50.0 | +10.0 |" in letters
    assert "| CMF-false100 | 1 | 10 | 20.0 | 0.00 | 55.0 | +15.0 |" in letters


def test_the_p_value_counts_all_flips_of_the_signs():
    assert Comparison((1.0, 2.0, 3.0)).p == 2 / 8
    assert Comparison((1.0, -1.0)).p == 1.0
    assert Comparison((1.0,)).p == 1.0
    assert Comparison((3.0, -1.0, 2.0, 4.0)).p == 4 / 16


def test_the_interval_is_that_of_students_t():
    comparison = Comparison((1.0, 3.0))
    assert comparison.half == pytest.approx(12.7062, abs=1e-3)
    assert Comparison((1.0,)).half == float("inf")


@pytest.mark.parametrize(
    ("differences", "p", "expected"),
    [
        ((1.0, 1.1) * 5, 0.01, "supported"),
        ((-1.0, -1.1) * 5, 0.01, "contradicted"),
        ((1.0, 1.1) * 5, 0.05, "undecided"),
        ((1.0, -0.9) * 5, 0.01, "undecided"),
        ((1.0, 1.1) * 4, 0.01, "incomplete"),
    ],
)
def test_a_verdict_needs_the_interval_and_the_adjusted_p_value(differences, p, expected):
    comparison = Comparison(differences, tuple(range(len(differences))))
    assert tables.verdict(comparison, p) == expected


def test_ten_seeds_of_a_pilot_are_not_complete():
    assert not Comparison((1.0, 1.1) * 5, tuple(range(1000, 1010))).complete


def test_a_difference_is_shown_with_the_bounds_of_its_interval():
    assert comparisons.with_bounds(Comparison((1.0, 3.0))) == "+2.0 (-10.7 to +14.7)"
    assert comparisons.with_bounds(Comparison((1.0,))) == "+1.0"
    # Half the interval is 4.303 standard errors of 1.732; the sign of the bound is visible.
    assert comparisons.with_bounds(Comparison((4.41, 7.41, 10.41))) == "+7.4 (-0.04 to +14.9)"


def test_a_difference_is_shown_with_half_the_width_of_its_interval():
    assert comparisons.with_half_width(Comparison((1.0, 3.0))) == "+2.0 ± 12.7"
    assert comparisons.with_half_width(Comparison((-0.04,))) == "+0.0"
    assert comparisons.with_half_width(Missing.SEEDS) == "no common seeds"


def test_a_hypothesis_that_is_not_complete_changes_no_other_verdict():
    strong = Comparison((1.0, 1.1) * 5, tuple(range(10)))
    partial = Comparison((1.0, 1.1) * 4, tuple(range(8)))
    missing = dict.fromkeys(("H2", "H4", "H5"), Missing.SEEDS)
    verdicts = tables.verdicts({"H1": strong, "H3": partial, **missing})
    assert verdicts["H1"] == ("supported", pytest.approx(5 * 2 / 1024))
    assert verdicts["H3"] == ("incomplete", 1.0)
    assert list(verdicts) == ["H1", "H3"]


def test_a_verdict_needs_the_adjusted_p_value():
    # The interval is above 0 and p below 0.05, but five times p is not.
    weak = Comparison((*[1.0] * 8, -1.0, -0.8), tuple(range(10)))
    assert weak.mean > weak.half
    assert 0.01 < weak.p < 0.05
    missing = dict.fromkeys(("H2", "H3", "H4", "H5"), Missing.SEEDS)
    assert tables.verdicts({"H1": weak} | missing)["H1"] == (
        "undecided",
        pytest.approx(5 * weak.p),
    )


def test_a_hypothesis_without_outcomes_has_a_line():
    text = compact(tables.TABLES["primary"]({"students": [], "teachers": [], "explained": []}))
    assert "| H4: stage 2 - control, accuracy, equal tokens | | 0 | | | no outcomes |" in text


def test_p_values_are_adjusted_for_their_number():
    adjusted = comparisons.holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_students_of_teachers_are_compared_with_no_and_true_explanations_and_with_each_other():
    curves = {"taught-text": 0.4, "taught-CMF": 0.6, "taught-stage2": 0.5}
    curves |= {"taught-specialists": 0.55, "taught-each": 0.35, "taught-each-checked": 0.7}
    students = [
        student(arm, 0, [(50, 0.3), (100, accuracy)], pass_tokens=50)
        | {"amount": 1000, "texts": 300}
        for arm, accuracy in curves.items()
    ]
    written = [
        {"size": "medium", "writer": "stage2", "seed": 0} | {"correct": dict.fromkeys(KINDS, 0.25)}
    ]
    text = tables.TABLES["taught"]({"students": students, "written": written})
    text = compact(text)
    cells = "| 1 | 300 | 20.0 | 0.00 |"
    found = re.findall(rf"\| taught-(\S+) {re.escape(cells)} ([\d.]+) \| ([-+\d.]*)", text)
    assert found == [
        *[("text", "40.0", ""), ("CMF", "60.0", "+20.0"), ("stage2", "50.0", "+10.0")],
        *[("specialists", "55.0", "+15.0"), ("each", "35.0", "-5.0")],
        ("each-checked", "70.0", "+30.0"),
        *[("CMF", "60.0", ""), ("stage2", "50.0", "-10.0"), ("specialists", "55.0", "-5.0")],
        *[("stage2", "50.0", ""), ("specialists", "55.0", "+5.0")],
        *[("each", "35.0", ""), ("each-checked", "70.0", "+35.0")],
    ]
    assert "| medium | stage 2 | 1 | 25.0 | 25.0 | 25.0 |" in text


def test_the_stages_are_compared_on_answers_and_explanations():
    teachers = [
        {"size": "medium", "stage": stage, "seed": seed, "trained": 0.6 + gain, "unseen": unseen}
        | {"parameters": 1234}
        for stage, gain, unseen in (
            *(("stage2", 0.1, 0.5), ("no_stage", 0.0, 0.4), ("stage3_cot", 0.2, 0.3)),
        )
        for seed in (0, 1)
    ]
    writers = [
        {"size": "medium", "writer": writer, "seed": seed}
        | {"correct": {"cot": 0.2 + gain, "fundamental": 0.2 + 2 * gain, "mistake": 0.2}}
        for writer, gain in (("stage2", 0.3), ("no_stage", 0.0), ("specialists", 0.1))
        for seed in (0, 1)
    ]
    text = compact(tables.TABLES["stages"]({"teachers": teachers, "explained": writers}))
    zero = "+0.0 ± 0.0 |"
    for line in (
        "| medium, 1,234 | stage 2 - control | 2 | +10.0 ± 0.0 | +10.0 ± 0.0 | +30.0 ± 0.0 | +30.0",
        f"| | specialists - stage 2 | 2 | | | -20.0 ± 0.0 | -20.0 ± 0.0 | -40.0 ± 0.0 | {zero}",
        f"| | specialists - control | 2 | | | +10.0 ± 0.0 | +10.0 ± 0.0 | +20.0 ± 0.0 | {zero}",
        "| medium | stage 2 | 2 | 70.0 | 50.0 |",
        "| medium | stage 3, chains of thought | 2 | 80.0 | 30.0 |",
        "| medium | control | 2 | 60.0 | 40.0 |",
        "| medium | stage 2 | 2 | 50.0 | 80.0 | 20.0 |",
        "| medium | specialists | 2 | 30.0 | 40.0 | 20.0 |",
    ):
        assert line in text
    assert "small" not in tables.TABLES["sizes"]({"teachers": teachers, "explained": writers})


def test_the_restarted_control_is_compared_with_both_others_of_its_size():
    stages = {"stage1": 0.4, "stage2": 0.8, "no_stage": 0.6, "mixed": 0.5, "restarted": 0.65}
    teachers = [
        {"size": size, "stage": stage, "seed": 0, "trained": trained, "unseen": 0.5}
        | {"parameters": 1234}
        for size in ("small", "large")
        for stage, trained in stages.items()
        if size == "large" or stage not in ("mixed", "restarted")
    ]
    writers = [
        {"size": size, "writer": writer, "seed": 0} | {"correct": dict.fromkeys(KINDS, share)}
        for size in ("small", "large")
        for writer, share in (("stage2", 0.3), ("no_stage", 0.2), ("restarted", 0.45))
    ]
    rows = {"teachers": teachers, "explained": writers}
    text = compact(tables.TABLES["restarts"](rows))
    for line in (
        "| large, 1,234 | restarted - control | 1 | +5.0 | +0.0 | +25.0 | +25.0 |",
        "| | stage 2 - restarted | 1 | +15.0 | +0.0 | -15.0 | -15.0 |",
        "| large | control | 1 | 60.0 | 50.0 |",
        "| large | control, restarted | 1 | 65.0 | 50.0 |",
        "| large | stage 2 | 1 | 80.0 | 50.0 |",
        "| large | control, restarted | 1 | 45.0 | 45.0 | 45.0 |",
    ):
        assert line in text
    assert "small" not in text and "stage 1" not in text
    assert "restarted" not in tables.TABLES["sizes"](rows)


def test_the_course_has_accuracies_and_differences_along_the_training():
    curves = {"text": (0.5, 0.6, 0.6), "CMF": (0.3, 0.5, 0.7), "CMF-permuted": (0.3, 0.4, 0.5)}
    students = [
        student(arm, seed, list(zip((10, 20, 30), curve, strict=True)), pass_tokens=50)
        | {"amount": 1000}
        for arm, curve in curves.items()
        for seed in (0, 1)
    ]
    text = compact(tables.TABLES["course"]({"students": students}))
    assert "| 10 | 50.0 | 30.0 | 30.0 | -20.0 ± 0.0 | +0.0 ± 0.0 |" in text
    assert "| 20 | 60.0 | 50.0 | 40.0 | -10.0 ± 0.0 | +10.0 ± 0.0 |" in text
    assert "| mean of the last 6 | 56.7 | 50.0 | 40.0 | -6.7 ± 0.0 | +10.0 ± 0.0 |" in text
    of_seeds = [row for row in students if (row["arm"] == "text") == (row["seed"] == 0)]
    assert tables.TABLES["course"]({"students": of_seeds}) == ""  # no seed has all arms


def test_real_students_are_compared_on_each_benchmark():
    rows = [
        student(arm, seed, [(50, 0.3), (100, accuracy)], pass_tokens=50)
        | {"amount": 80, "benchmark": benchmark, "questions": 105, "majority": 0.55}
        | {"digests": ["sha256:1", f"sha256:{benchmark}"]}
        for arm, accuracy in (("text", 0.5), ("C", 0.6), ("C-permuted", 0.9))
        for seed in (0, 1)
        for benchmark in ("creak", "ecqa_held_out")
    ]
    text = compact(tables.TABLES["real"]({"real": rows}))
    # Equal seeds; half the interval is 1.96 * sqrt(0.5 * 0.5 / 105), and 0.6 * 0.4 for C.
    assert text.count("| 105 | 55.0 | text | 2 | 50.0 ± 9.6 | no | | | |") == 2
    assert text.count("| C | 2 | 60.0 ± 9.4 | no | +10.0 ± 0.0 | +10.0 ± 0.0 | +10.0 ± 0.0 |") == 2
    assert text.count("| C-permuted | 2 | 90.0 ± 5.7 | yes |") == 2
    permuted = text.partition("| benchmark | seeds | C - C-permuted, equal steps |")[2]
    assert "| creak | 2 | -30.0 ± 0.0 |" in permuted
    assert "| ecqa_held_out | 2 | -30.0 ± 0.0 |" in permuted


def test_outcomes_on_other_real_samples_are_not_compared():
    rows = [
        student("C", seed, [(50, 0.3), (100, 0.6)], pass_tokens=50)
        | {
            "benchmark": "creak",
            "questions": 105,
            "majority": 0.55,
            "digests": [digest, "sha256:2"],
        }
        for seed, digest in ((0, "sha256:1"), (3, "sha256:0"))
    ]
    with pytest.raises(UserError, match="creak: seed 3 has other samples or questions than seed 0"):
        tables.TABLES["real"]({"real": rows})


def test_the_interval_of_an_accuracy_covers_seeds_and_questions():
    def level(*accuracies):
        return real_tables.accuracy_with_interval(
            [{"curve": [(100, accuracy)], "questions": 1000} for accuracy in accuracies]
        )

    assert level(0.6) == pytest.approx((60, 3.04), abs=0.01)
    # Student's t with one degree of freedom is 12.7; the standard error is 1 point.
    assert level(0.59, 0.61) == pytest.approx((60, math.hypot(12.71, 3.04)), abs=0.01)
