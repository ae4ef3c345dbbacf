"""Texts that pass and fail each gate."""

import dataclasses
from collections import Counter

import pytest

from teacherlm_jax.annotation.gates import gates
from teacherlm_jax.annotation.job import job
from teacherlm_jax.config import (
    DEFAULT_GATES,
    AnnotateConfig,
    SourceConfig,
    TeachersConfig,
    fields,
)
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, Sample, from_row, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from tests.make_run import make_run

SAMPLE = Sample(id="1", question="2 + 2?", answer="4", source="sums")
PETS = dataclasses.replace(
    SAMPLE, question="Where do most pets sleep at night?", answer="(B)", options=("barn", "house")
)
FOUR_IN_RUSSIAN = dataclasses.replace(SAMPLE, answer="четыре")
CHINESE = dataclasses.replace(SAMPLE, question="猫是什么？", answer="动物")


def _explained(
    text: str, kind: str = "cot", finish_reason: str = "eos", sample: Sample = SAMPLE
) -> gates.GateInput:
    return gates.GateInput(sample=sample, kind=kind, text=text, finish_reason=finish_reason)


@pytest.mark.parametrize(
    ("gate", "explained", "passes"),
    [
        ("finished", _explained("x"), True),
        ("finished", _explained("x", finish_reason="length"), False),
        ("not_empty", _explained("x"), True),
        ("not_empty", _explained(""), False),
        ("not_empty", _explained(" \n"), False),
        ("concludes_answer", _explained("Two and two. The answer is 4."), True),
        ("concludes_answer", _explained("Two and two. The answer is 5."), False),
        ("concludes_answer", _explained("Some say the answer is 5.", kind="mistake"), True),
        ("concludes_answer", _explained("x"), True),
        ("no_other_trigger", _explained("Two and two. Mistakes are common."), True),
        ("no_other_trigger", _explained("Two. The common mistakes are: to add."), False),
        ("no_other_trigger", _explained("The common mistakes are: two.", kind="mistake"), True),
        ("no_other_trigger", _explained("Two. Let's think step by step.", kind="mistake"), False),
        ("no_other_trigger", _explained("Four. Q: 3 + 3? A: 6"), False),
        ("no_other_trigger", _explained("See the FAQ: four."), True),
        ("no_repetition", _explained("one two three"), True),
        ("no_repetition", _explained("so so so so"), False),
        ("no_garbage", _explained("A caf\u00e9."), True),
        ("no_garbage", _explained("A caf\ufffd."), False),
        ("no_placeholder", _explained("None of them is 5."), True),
        ("no_placeholder", _explained("N/A"), False),
        ("no_placeholder", _explained("Explanation goes here."), False),
        ("same_script", _explained("Two and two.", sample=PETS), True),
        ("same_script", _explained("Домашние животные.", sample=PETS), False),
        ("same_script", _explained("猫是动物。", sample=CHINESE), True),
        ("same_script", _explained("A cat is an animal.", sample=CHINESE), False),
        ("same_script", _explained("Two and two.", sample=FOUR_IN_RUSSIAN), False),
        ("same_script", _explained("Два и два."), True),  # "2 + 2?" and "4" have no letters
        ("not_copied", _explained("Pets live with people.", sample=PETS), True),
        ("not_copied", _explained("Most pets sleep at night in a house.", sample=PETS), True),
        ("not_copied", _explained("Where do most pets sleep at night?", sample=PETS), False),
        ("not_copied", _explained("(A) barn (B) house", sample=PETS), False),
        ("not_copied", _explained("House.", sample=PETS), False),
        ("not_copied", _explained("The answer is (B).", kind="mistake", sample=PETS), False),
        ("not_copied", _explained(f"{PETS.question} They live inside.", sample=PETS), True),
        ("not_copied", _explained("", sample=PETS), True),  # not_empty judges it
    ],
)
def test_gate_passes_or_fails_a_text(gate, explained, passes):
    assert gates.GATES[gate](explained) is passes


@pytest.mark.parametrize("name", ["aqua", "creak", "ecqa", "gsm8k", "strategyqa"])
def test_99_percent_of_human_chains_of_thought_pass_all_default_gates(shared_data, name):
    source = SourceConfig(name, f"{name}_train.jsonl", "cot")
    samples = reading.read_samples(source, str(shared_data / "rationale"), RefusedRows(None))
    explained = [
        _explained(text, sample=sample)
        for sample in samples
        if (text := sample.explanation("cot", "human"))
    ]
    failed = Counter(
        gate
        for one in explained
        for gate, passed in gates.verdicts(DEFAULT_GATES, one).items()
        if not passed
    )
    assert len(explained) > 1800
    assert failed.total() <= 0.01 * len(explained), failed


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_of_generated_samples_pass_all_gates(kind):
    for sample in synthetic.generate(90, seed=4):
        (text,) = sample.explanations[kind].values()
        verdicts = gates.verdicts(gates.GATES, _explained(text, kind, sample=sample))
        assert all(verdicts.values()), (text, verdicts)


def test_right_explanations_of_generated_samples_pass_and_others_fail():
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


def test_the_synthetic_gate_refuses_samples_that_were_not_generated():
    (synthetic_sample,) = synthetic.generate(1, seed=0)
    gates.require_usable(["finished", "synthetic"], [synthetic_sample])
    gates.require_usable(["finished", "no_repetition"], [SAMPLE])
    unfit = {
        "source is 'sums', expected a generated sample": SAMPLE,
        "source is 'synthetic/nothing', expected a generated sample": dataclasses.replace(
            synthetic_sample, source="synthetic/nothing"
        ),
        "the question does not belong to synthetic/": dataclasses.replace(
            synthetic_sample, question="Why?"
        ),
    }
    for reason, sample in unfit.items():
        with pytest.raises(
            UserError, match=f"config.gates: .*{reason}.*; or remove 'synthetic' from config.gates"
        ):
            gates.require_usable(["synthetic"], [synthetic_sample, sample])


def _settings(**settings):
    return AnnotateConfig(
        output="out",
        source=SourceConfig("sums", "sums.jsonl"),
        teachers=TeachersConfig(cot="teacher"),
        **settings,
    )


def test_a_config_with_an_unknown_gate_is_refused_with_the_nearest_known_one():
    fields.check(_settings(gates=tuple(gates.GATES)))
    assert fields.check(_settings()) is None
    assert _settings().gates == DEFAULT_GATES == tuple(gates.GATES)[:-1]
    with pytest.raises(
        UserError, match="config.gates: expected one of .*, got 'finish'; did you mean 'finished'"
    ):
        fields.check(_settings(gates=("not_empty", "finish")))
    with pytest.raises(
        UserError, match="config.gates: expected one of 'finished', .*'not_duplicate', got 'xyz'$"
    ):
        fields.check(_settings(gates=("xyz",)))


def test_a_job_with_the_default_gates_fails_texts_that_contradict_their_answer(
    make_config, teachers, tmp_path, monkeypatch
):
    monkeypatch.setattr(Vocabulary, "decode", lambda self, ids: "So the answer is (A).")
    asked = [sample for sample in synthetic.generate(40, seed=2) if sample.options][:8]
    files.write_jsonl(tmp_path / "samples.jsonl", map(to_row, asked))
    config = dataclasses.replace(
        make_config(cot=teachers[0]), root=str(tmp_path), gates=_settings().gates
    )
    result = job.annotate(config, make_run(tmp_path / "run"))["kinds"]["cot"]
    right = {sample.id: sample.answer == "(A)" for sample in asked}
    paths = sorted((tmp_path / "run/samples").iterdir())
    rows = [from_row(row) for path in paths for _, row in files.read_jsonl(path)]
    gates_of = {row.id: row.annotations["cot"]["gates"] for row in rows}
    assert {id: gates["concludes_answer"] for id, gates in gates_of.items()} == right
    assert 0 < result["gates"]["concludes_answer"] == sum(right.values()) < len(asked)


@pytest.mark.parametrize("author", ["", " "])
def test_a_config_without_an_author_is_refused(author):
    with pytest.raises(UserError, match="config.author: empty"):
        fields.check(_settings(author=author))
