"""What each gate lets through."""

import dataclasses

import pytest

from teacherlm_jax.annotation import gates
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError

SAMPLE = Sample(id="1", question="2 + 2?", answer="4", source="sums")
LOOP = "the cat sat down and " * 5


def _given(text: str, kind: str = "cot", finish_reason: str = "eos") -> gates.GateInput:
    return gates.GateInput(sample=SAMPLE, kind=kind, text=text, finish_reason=finish_reason)


@pytest.mark.parametrize(
    ("gate", "given", "passes"),
    [
        ("finished", _given("x"), True),
        ("finished", _given("x", finish_reason="length"), False),
        ("not_empty", _given("x"), True),
        ("not_empty", _given(""), False),
        ("not_empty", _given(" \n"), False),
        ("no_other_trigger", _given("Two and two. Mistakes are common."), True),
        ("no_other_trigger", _given("Two. The common mistakes are: to add."), False),
        ("no_other_trigger", _given("The common mistakes are: two.", kind="mistake"), True),
        ("no_other_trigger", _given("Two. Let's think step by step.", kind="mistake"), False),
        ("no_other_trigger", _given("Four. Q: 3 + 3? A: 6"), False),
        ("no_other_trigger", _given("See the FAQ: four."), True),
        ("no_repetition", _given("one two three"), True),
        ("no_repetition", _given(LOOP), False),
        ("no_repetition", _given("the cat sat down and " * 4), True),
        ("no_repetition", _given("a a a a a a a a"), False),
        ("no_repetition", _given("a a a a a a a"), True),
    ],
)
def test_gate(gate, given, passes):
    assert gates.GATES[gate](given) is passes


def test_true_explanations_of_generated_samples_pass_and_those_of_others_fail():
    first, second = synthetic.generate(2, seed=0, families=[next(iter(synthetic.FAMILIES))])
    for kind in KINDS:
        (text,) = first.explanations[kind].values()
        right = gates.GateInput(sample=first, kind=kind, text=text, finish_reason="eos")
        wrong = dataclasses.replace(right, text="I do not know.")
        assert gates.verdicts(["synthetic", "finished"], right) == {
            "synthetic": True,
            "finished": True,
        }
        assert gates.verdicts(["synthetic"], wrong) == {"synthetic": False}
    (cot,) = first.explanations["cot"].values()
    misplaced = gates.GateInput(sample=second, kind="cot", text=cot, finish_reason="eos")
    assert gates.verdicts(["synthetic"], misplaced) == {"synthetic": False}


def test_unknown_gates_and_gates_that_cannot_judge_are_refused():
    gates.require_usable(["finished", "no_repetition"], [SAMPLE])
    with pytest.raises(UserError, match="unknown gate 'done'; known: finished, not_empty"):
        gates.require_usable(["done"], [SAMPLE])
    with pytest.raises(UserError, match="sample 1 has source 'sums'; leave the gate out"):
        gates.require_usable(["synthetic"], [SAMPLE])
    gates.require_usable(["synthetic"], synthetic.generate(1, seed=0))
