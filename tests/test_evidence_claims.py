"""The claims of the paper beside the outcomes of the study."""

import collections

from benchmarks.evidence import claims


def lines(rows, hours):
    text = claims.table(collections.defaultdict(list, rows), hours)
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:])
    return {claim: others for claim, *others in cells}


def test_the_differences_of_the_paper_are_those_of_its_tables():
    shown = lines({}, {})
    # Table 1, stage 2 and no stage: 36.47, 41.36, 46.34, 51.11 and 35.27, 40.26, 46.01, 47.00.
    stages = shown["medium teachers, stage 2 - control: answers (H4)"]
    assert stages[1] == "+1.7 (+0.3 to +4.1)"
    # Table 7, MMLU: 31.7 - 31.0 is 0.7, opt-1.3b has +0.1 and bloom-7b1 +2.8.
    assert shown["students: F - text"][1] == "+1.2 (+0.1 to +2.8)"
    # BLOOMZ-7.1B: 61.9 - 71.9 and 53.1 - 68.6.
    line = ["passes", "-12.8 (-15.5 to -10.0)", "not run yet", "", "real"]
    assert shown["students on ecqa: C by people - text"] == line


def student(arm, accuracy, seed):
    curve = [[10, 0.1], [20, accuracy]]
    figures = {"steps": 20, "tokens": 900, "pass_tokens": 100}
    return {"arm": arm, "amount": 1000, "seed": seed, "curve": curve, **figures}


def test_a_line_has_the_difference_its_verdict_and_its_hours():
    students = [
        student(arm, accuracy + seed % 2 / 1000, seed)
        for arm, accuracy in (("text", 0.5), ("CMF", 0.6), ("C", 0.45))
        for seed in range(10)
    ]
    shown = lines({"students": students}, {"students": 1.25, "forms": 2.0})
    assert shown["students: CMF - text (H1)"][2:] == [
        *("+10.0 (+10.0 to +10.0)", "supported", "students (1.2)")
    ]
    assert shown["students: C - text"][2:] == ["-5.0 (-5.0 to -5.0)", "", "forms (2.0)"]
    assert shown["students: F - text"][2:] == ["not run yet", "", "forms"]
