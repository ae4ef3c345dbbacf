"""The benchmark of STaR: its tables from made-up figures, and a tiny run of all arms."""

import math

import pytest

from benchmarks import star, star_questions

SMALL = star.Size(
    base=60, explained=20, questions=20, test=10, rounds=1, base_steps=6, steps=5, seed_steps=4
)


def round_of(number, accuracy, kept=(), true=None):
    figures = {"round": number, "accuracy": accuracy}
    if number:
        steps = zip(("attempts", "rationalizations"), kept, strict=True)
        figures |= {name: {"kept": count} for name, count in steps} | {"true": true}
    return figures


def result(seed, shift):
    both = {"filtered": 0.9, "rationalized": 0.5}
    return {
        "seed": seed,
        star.DIRECT: {"accuracy": 0.5 + shift, "majority": 0.4},
        "filtering": [
            round_of(0, 0.6 + shift), round_of(1, 0.7 + shift, (30, 0), {"filtered": 0.8}),
        ],
        "filtering and rationalization": [
            round_of(0, 0.6 + shift), round_of(1, 0.8 + 2 * shift, (30, 10), both),
        ],
    }  # fmt: skip


def test_the_tables_have_every_arm_with_means_and_intervals_over_the_seeds():
    results = [result(0, 0.0), result(1, 0.02), result(2, 0.04)]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]]
             for line in star.text_of(results).splitlines() if line]  # fmt: skip
    assert lines[0] == ["accuracy, %", "round 0", "round 1"]
    assert lines[2] == ["no rationales", "", "52.0 ± 5.0"]
    assert lines[3] == ["filtering", "62.0 ± 5.0", "72.0 ± 5.0"]
    assert lines[4] == ["filtering and rationalization", "62.0 ± 5.0", "84.0 ± 9.9"]
    assert lines[7:] == [
        ["filtering", "filtered", "30, 80% true"],
        ["filtering and rationalization", "filtered", "30, 90% true"],
        ["filtering and rationalization", "rationalized", "10, 50% true"],
    ]


def test_the_steps_of_a_problem_lead_from_its_numbers_to_its_answer():
    for problem in star_questions.problems(60, 1, (1, 2, 5), "train"):
        amount = problem.start
        steps = list(problem.steps())
        for change, step in zip(problem.changes, steps, strict=True):
            sign = "plus" if change > 0 else "minus"
            assert step == f"{amount} {sign} {abs(change)} makes {amount + change}."
            amount += change
        assert problem.sample("x").answer == str(amount)
        assert 0 < amount <= star_questions.LARGEST
        assert problem.question().startswith(f"{problem.name} has {problem.start} {problem.thing}")


def test_held_out_problems_have_other_numbers_than_those_of_the_training():
    train, test = (
        {(one.start, one.changes) for one in star_questions.problems(300, 1, (2, 3), split)}
        for split in ("train", "test")
    )
    assert not train & test


def test_gains_are_compared_seed_by_seed():
    results = [result(0, 0.0), result(1, 0.02)]
    assert star.gains(results, "filtering") == pytest.approx([0.1, 0.1])
    mean, half = star.interval(star.gains(results, "filtering and rationalization"))
    assert (mean, half) == pytest.approx((0.21, 12.7062 * 0.01), rel=1e-4)
    assert math.isnan(star.interval([0.5])[1])


def test_all_arms_start_from_one_base_and_the_arms_of_star_share_round_0(
    tmp_path, monkeypatch, one_device
):
    monkeypatch.setenv("XLA_FLAGS", one_device["XLA_FLAGS"])
    (figures,) = star.measure(SMALL, (100,), tmp_path)
    first, second = (figures[name] for name in star.ARMS.values())
    assert len(first) == len(second) == 2 and first[0] == second[0]
    assert first[1]["rationalizations"]["texts"] == 0
    assert second[1]["rationalizations"]["texts"] == 20 - second[1]["attempts"]["kept"]
    assert first[1]["attempts"] == second[1]["attempts"]
    assert 0 <= figures[star.DIRECT]["accuracy"] <= 1
    assert "no rationales" in star.text_of([figures])
