"""Generated samples: balanced, reproducible, in disjoint splits, with a reliable check."""

import dataclasses
import itertools
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, Sample, from_row, to_row
from teacherlm_jax.data.synthetic.facts import Solution
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

FAMILIES = tuple(synthetic.FAMILIES)
COUNT = 100 * len(FAMILIES)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(synthetic.generate(COUNT, seed=3))


def of_family(samples: list[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.source == f"synthetic/{name}"]


def without_explanations(sample: Sample) -> Sample:
    return dataclasses.replace(sample, explanations={})


def explanation(sample: Sample, kind: str) -> str:
    return sample.explanation(kind, synthetic.AUTHOR)


def test_samples_come_from_at_least_six_families_in_turn(samples):
    assert len(FAMILIES) >= 6
    assert [sample.source for sample in samples[: len(FAMILIES)]] == [
        f"synthetic/{name}" for name in FAMILIES
    ]
    assert [sample.id for sample in samples[:2]] == ["synthetic-train-3-0", "synthetic-train-3-1"]
    assert len({sample.subject for sample in samples}) == len(FAMILIES)


def test_the_vocabulary_is_small(samples):
    texts = [sample.question for sample in samples]
    texts += [option for sample in samples for option in sample.options]
    texts += [explanation(sample, kind) for sample in samples for kind in KINDS]
    assert len(set(re.findall(r"\w+", " ".join(texts)))) < 250


def test_every_explanation_passes_a_check_of_the_sample_without_it(samples):
    for sample in samples:
        for kind in KINDS:
            verdict = synthetic.check(without_explanations(sample), kind, explanation(sample, kind))
            assert verdict.ok, (sample, kind, verdict.reason)


def test_samples_are_unchanged_by_a_round_trip_through_rows(samples):
    sample = samples[0]
    assert from_row(to_row(sample)) == sample


@pytest.mark.parametrize("name", FAMILIES)
def test_explanations_of_another_sample_fail(samples, name):
    family = of_family(samples, name)
    for kind in KINDS:
        foreign = [
            (sample, explanation(other, kind))
            for sample, other in itertools.pairwise(family)
            if explanation(other, kind) not in accepted(sample, kind)
        ]
        assert len(foreign) > len(family) // 2  # explanations differ between samples
        for sample, text in foreign:
            verdict = synthetic.check(sample, kind, text)
            assert not verdict.ok
            assert "expected" in verdict.reason


def accepted(sample: Sample, kind: str) -> tuple[str, ...]:
    facts = synthetic.FAMILIES[sample.source.removeprefix("synthetic/")].parse(sample.question)
    return facts.solve().explanations(kind)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_explanation_with_one_changed_word_fails(samples, name):
    words = sorted({word for sample in samples for word in explanation(sample, "cot").split()})
    rng = random.Random(0)
    for sample in of_family(samples, name):
        for kind in KINDS:
            text = explanation(sample, kind).split()
            position = rng.randrange(len(text))
            text[position] = rng.choice([word for word in words if word != text[position]])
            changed = " ".join(text)
            if changed not in accepted(sample, kind):
                assert not synthetic.check(sample, kind, changed).ok


def test_an_explanation_of_another_kind_fails(samples):
    sample = samples[0]
    assert not synthetic.check(sample, "cot", explanation(sample, "mistake")).ok


def test_white_space_is_ignored_but_missing_or_extra_words_fail(samples):
    for sample in samples[: len(FAMILIES)]:
        text = explanation(sample, "cot")
        assert synthetic.check(sample, "cot", f"  {text.replace(' ', '  ')}\n").ok
        assert not synthetic.check(sample, "cot", f"{text} {text}").ok
        assert not synthetic.check(sample, "cot", text.rsplit(maxsplit=1)[0]).ok
        assert synthetic.check(sample, "cot", " ").reason == "empty"


def test_the_reason_names_the_first_wrong_word():
    (sample,) = synthetic.generate(1, seed=0, families=["membership"])
    words = explanation(sample, "cot").split()
    verdict = synthetic.check(sample, "cot", " ".join([*words[:3], "banana", *words[4:]]))
    prefix = " ".join(words[:3])
    assert verdict.reason == f"after {prefix!r}: expected {words[3]!r}, got 'banana'"


@pytest.mark.parametrize("name", FAMILIES)
def test_mistakes_lead_to_a_wrong_option(samples, name):
    for sample in of_family(samples, name):
        correct = sample.options[sample.answer_index]
        for text in accepted(sample, "mistake"):
            result = text.removesuffix(".").rsplit("which gives ", maxsplit=1)[1]
            assert result in sample.options
            assert result != correct


def test_a_mistake_that_leads_to_the_correct_answer_is_an_error():
    with pytest.raises(ValueError, match="leads to '1', expected a wrong option"):
        Solution(("1", "2"), "1", "", "", (("to guess", "1"),))


@pytest.mark.parametrize("name", FAMILIES)
def test_answer_letters_are_balanced(name):
    samples = list(synthetic.generate(1200, seed=5, families=[name]))
    letters = Counter(sample.answer for sample in samples)
    even = len(samples) / len(samples[0].options)
    assert len(letters) == len(samples[0].options)
    assert all(0.85 * even < count < 1.15 * even for count in letters.values()), letters


@pytest.mark.parametrize("name", FAMILIES)
def test_splits_share_no_question(name):
    questions = {
        split: {
            sample.question for sample in synthetic.generate(200, 1, families=[name], split=split)
        }
        for split in synthetic.SPLITS
    }
    train, test, unlabelled = questions.values()
    assert not train & test
    assert not train & unlabelled
    assert not test & unlabelled


def test_the_unlabelled_split_has_no_explanations():
    assert all(not s.explanations for s in synthetic.generate(20, seed=0, split="unlabelled"))


def test_there_are_no_duplicate_samples():
    samples = list(synthetic.generate(6000, seed=2))
    assert len({(sample.question, sample.options) for sample in samples}) == len(samples)


def test_an_exhausted_family_is_an_error():
    with pytest.raises(UserError, match="synthetic/weekdays: no new sample in the split 'test'"):
        list(synthetic.generate(100_000, seed=0, families=["weekdays"], split="test"))


def test_samples_are_drawn_one_at_a_time():
    assert next(synthetic.generate(10**12, seed=0)).id == "synthetic-train-0-0"


def test_the_same_arguments_give_the_same_samples_in_every_process():
    program = (
        "from teacherlm_jax.data import synthetic\n"
        "print(list(synthetic.generate(40, seed=11, split='test')))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for hash_seed in (1, 2)
    }
    assert outputs == {f"{list(synthetic.generate(40, seed=11, split='test'))}\n"}
    assert list(synthetic.generate(40, seed=12)) != list(synthetic.generate(40, seed=11))


@settings(max_examples=200)
@given(name=st.sampled_from(FAMILIES), seed=st.integers())
def test_facts_can_be_parsed_from_the_question(name, seed):
    facts = synthetic.FAMILIES[name].draw(random.Random(seed))
    assert synthetic.FAMILIES[name].parse(facts.question()) == facts
    solution = facts.solve()
    assert solution.answer in solution.options
    assert len(set(solution.options)) == len(solution.options)
    for kind in KINDS:
        texts = solution.explanations(kind)
        assert len(set(texts)) == len(texts) > 0


def test_samples_that_were_not_generated_are_refused(samples):
    sample = samples[0]
    foreign = dataclasses.replace(sample, source="creak")
    with pytest.raises(UserError, match="source is 'creak', expected a generated sample"):
        synthetic.check(foreign, "cot", "text")
    reworded = dataclasses.replace(sample, question="Why is the sky blue?")
    with pytest.raises(UserError, match="expected a question like"):
        synthetic.check(reworded, "cot", "text")
    wrong = sample.answer_index - 1
    letter = "ABC"[wrong % len(sample.options)]
    with pytest.raises(UserError, match="answer is .* generate the dataset again"):
        synthetic.check(dataclasses.replace(sample, answer=f"({letter})"), "cot", "text")
    options = ("1000", *sample.options[1:])
    with pytest.raises(UserError, match="options are .*'1000'.* expected"):
        synthetic.check(dataclasses.replace(sample, options=options), "cot", "text")
    with pytest.raises(UserError, match="unknown kind of explanation 'error'"):
        synthetic.check(sample, "error", "text")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"families": ["arithmetic", "algebra"]}, "synthetic family: got 'algebra', expected one"),
        ({"families": []}, "synthetic family: got none, expected one of"),
        ({"split": "dev"}, "synthetic split: got 'dev', expected one of train, test, unlabelled"),
    ],
)
def test_unknown_families_and_splits_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        next(synthetic.generate(1, seed=0, **arguments))


@pytest.mark.parametrize("split", synthetic.SPLITS)
def test_a_file_of_samples_has_explanations_in_the_training_split_only(split, tmp_path):
    path = tmp_path / "new" / "samples.jsonl"
    rows = synthetic.write(path, 18, seed=3, split=split)
    assert [row for _, row in files.read_jsonl(path)] == rows
    expected = list(synthetic.generate(18, seed=3, split=split))
    if split != "train":
        expected = list(map(without_explanations, expected))
    assert list(map(from_row, rows)) == expected
    assert all(bool(row["explanations"]) == (split == "train") for row in rows)
