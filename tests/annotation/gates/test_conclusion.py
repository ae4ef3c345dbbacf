"""Conclusions that agree with the given answer, contradict it, or are not stated."""

import json
import re

import pytest

from teacherlm_jax.annotation.gates.conclusion import contradicts
from teacherlm_jax.data.sample import LETTERS, Sample

BOOLEAN = ("True", "False")
PLACES = ("bank", "bank account", "park")


def _sample(answer, options=()):
    return Sample(id="1", question="Which?", answer=answer, options=options)


@pytest.mark.parametrize(
    ("answer", "options", "text", "expected"),
    [
        ("(A)", BOOLEAN, "7 and 3 make 10. The answer is (B).", True),
        ("(A)", BOOLEAN, "7 and 3 make 10. The answer is (A).", False),
        ("(A)", BOOLEAN, "The answer is (B)? No: the answer is (A).", False),  # the last one counts
        ("(A)", BOOLEAN, "The answer is (A). Wait, the answer is (B).", True),
        ("(A)", BOOLEAN, "So the correct answer is B.", True),
        ("(A)", BOOLEAN, "So the correct option must be: A", False),
        ("(A)", BOOLEAN, "The answer is false.", True),
        ("(A)", BOOLEAN, "Answer: True", False),
        ("(A)", BOOLEAN, "The answer is not (B).", False),
        ("(B)", PLACES, "The answer is a bank account.", False),
        ("(A)", PLACES, "The answer is a bank account.", True),
        ("(C)", PLACES, "The answer is a bank or a park.", False),  # two options: not judged
        ("(C)", PLACES, "The answer is obvious.", False),
        ("(C)", PLACES, "People sit on a bench, so it must be (A).", True),
        ("(C)", PLACES, "People sit on a bench, so it must be (C).", False),
        ("(C)", PLACES, "It cannot be (A).", False),
        ("(C)", PLACES, "(A) keeps money. People sit on a bench in the open.", False),
        ("(A)", BOOLEAN, "Ann has 10. Therefore the statement is false.", True),
        ("(A)", BOOLEAN, "Ann has 10. Therefore the statement is true.", False),
        ("(A)", BOOLEAN, "Ann has 10. So it isn't false.", False),
        ("(A)", PLACES, "People sit on a bench, and therefore it is a park.", True),
        ("(C)", PLACES, "A bank has money, but people sit on a bench; so it is a park.", False),
        ("(C)", PLACES, "People sit on a bench, so they go to a bank, to a park.", False),
        ("(A)", PLACES, "He wants to be in the open, also in a park.", False),
        ("(A)", BOOLEAN, "It would be easy to think that this is false.", False),
        ("(A)", BOOLEAN, "Thus (Z).", False),  # no such option
        ("(A)", BOOLEAN, "The answer is (A). It must be (B).", True),
        ("(A)", BOOLEAN, "The answer is (B). No, it must be (A).", False),
        ("(A)", BOOLEAN, "The answer is True. Therefore it is False.", True),
        ("(A)", BOOLEAN, "The answer is (B). So much for this.", True),
        ("(A)", BOOLEAN, "The answer is (B). It cannot be (A).", True),
        ("18", (), "9 + 9 = 18. The answer is 18.", False),
        ("18", (), "The answer is $18.00 a day.", False),
        ("1,800", (), "The answer is 1800.", False),
        ("18", (), "She sells 9 eggs.\n#### 17", True),
        ("18", (), "She sells 17 eggs.", False),
        ("Paris", (), "The answer is London.", True),
        ("Paris", (), "The answer is the city of Paris.", False),
        ("yes", (), "The answer is no.", True),
        ("because the sky scatters blue light", (), "The answer is Rayleigh scattering.", False),
    ],
)
def test_only_a_stated_conclusion_other_than_the_answer_contradicts_it(
    answer, options, text, expected
):
    assert contradicts(_sample(answer, options), text) is expected


@pytest.mark.parametrize("name", ["aqua", "creak", "ecqa", "gsm8k", "strategyqa"])
def test_human_chains_of_thought_pass_and_opposite_conclusions_fail(shared_data, name):
    """At most 0.3% of them are flagged, and most of those do contradict their answer."""
    flagged = caught = 0
    lines = (shared_data / f"rationale/{name}_train.jsonl").read_text().strip().split("\n")
    for line in lines:
        row = json.loads(line)
        sample, wrong = _published(row)
        flagged += contradicts(sample, row["cot"])
        caught += contradicts(sample, f"{row['cot']}\nSo the answer is {wrong}.")
    assert flagged <= 0.003 * len(lines)
    assert caught == len(lines)


def _published(row):
    """Return the sample of a published row, and a wrong answer to it as text."""
    _, _, block = row["question"].partition("\nOptions:\n")
    options = tuple(re.sub(r"^(- |\([A-Z]\) ?)", "", line) for line in block.split("\n") if block)
    answer = row["answer"]
    if not options:
        return _sample(answer), {"yes": "no", "no": "yes"}.get(answer, f"{answer}1")
    if not re.fullmatch(r"\([A-Z]\)", answer):
        answer = f"({LETTERS[options.index(answer)]})"
    return _sample(answer, options), "(A)" if answer != "(A)" else "(B)"
