"""Progress of an annotation, on a clock that stands still unless a test moves it."""

import logging
from types import SimpleNamespace

import pytest

from teacherlm_jax.annotation import progress
from teacherlm_jax.annotation.progress import AnnotationProgress, GateShares


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def _explanation(kind="cot", new_tokens=10, **gates):
    return SimpleNamespace(kind=kind, new_tokens=new_tokens, gates=gates)


def test_a_line_has_rows_explanations_speed_busy_slots_time_left_and_gates(clock, caplog):
    caplog.set_level(logging.INFO)
    job = AnnotationProgress(logging.getLogger("job"), 20, ("cot", "mistake"), {"cot": 3})
    clock.now += 5
    for _ in range(2):
        job.add(_explanation("cot", finished=True, not_empty=True))
        job.add(_explanation("mistake", finished=False, not_empty=True))
    job.slots.prompts, job.slots.busy_steps, job.slots.slot_steps = 6, 44, 88
    job.report()
    job.report()  # nothing new
    clock.now += 10
    job.slots.busy_steps, job.slots.slot_steps = 144, 213
    job.report()
    done, passed = "2/10 rows, 7/20 explanations, 10 tokens/s", "passed finished 50%, all other"
    assert caplog.messages == [
        "explanations: 20 in total, 3 on disk",
        f"{done}, 50% of slots busy, 16 s left; {passed} gates 100%",
        f"{done}, 80% of slots busy, 49 s left; {passed} gates 100%",
    ]


def test_a_line_without_slots_and_gates_counts_the_tokens_of_finished_texts(clock, caplog):
    caplog.set_level(logging.INFO)
    job = AnnotationProgress(logging.getLogger("job"), 2, ("cot",), {})
    clock.now += 4
    job.add(_explanation(new_tokens=100))
    job.report()
    job.add(_explanation(new_tokens=60))
    assert caplog.messages[1] == "1/2 rows, 1/2 explanations, 25 tokens/s, 4 s left"
    assert caplog.messages[2].startswith("2/2 rows, 2/2 explanations, ")  # without being asked


def test_verdicts_that_come_later_are_counted_too(clock, caplog):
    caplog.set_level(logging.INFO)
    job = AnnotationProgress(logging.getLogger("job"), 5, ("cot",), {})
    for _ in range(4):
        job.add(_explanation(finished=True))
    job.add_answers_found([True, None, False, True])
    job.report()
    assert caplog.messages[-1].endswith("; passed answer_check 66.6%, all other gates 100%")


def test_explanations_of_other_processes_are_counted_once(clock):
    job = AnnotationProgress(logging.getLogger("job"), 20, ("cot", "mistake"), {"cot": 3})
    job.add(_explanation("cot"))
    job.at_least({"cot": 4, "mistake": 0})  # ours is among them
    assert (job.done, job.written, job.rows) == (4, 1, 0)
    job.at_least({"cot": 6, "mistake": 5})
    job.correct("cot", -1)
    assert (job.done, job.written, job.rows) == (10, 1, 5)


def test_shares_are_of_the_judged_texts_and_rounded_down():
    shares = GateShares()
    assert shares.line() == ""
    for number in range(2000):
        verdicts = {"finished": number > 0, "not_empty": True}
        shares.add(verdicts | ({"answer_check": number < 100} if number < 400 else {}))
    assert shares.line() == "finished 99.9%, answer_check 25%, all other gates 100%"
    every = GateShares()
    every.add({"finished": True})
    assert every.line() == "all gates 100%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 hours")]
)
def test_durations_are_given_in_a_unit_that_fits(seconds, text):
    assert progress.duration(seconds) == text
