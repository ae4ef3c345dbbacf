"""The benchmark of the gate `answer_check`: its texts, the reader's prompts, and the tables."""

from collections import Counter

import pytest

from benchmarks import answer_check as benchmark
from benchmarks import unsupported_texts
from benchmarks.unsupported_texts import FAULTS
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.rank import Prediction


@pytest.fixture(scope="module")
def texts():
    return list(unsupported_texts.texts(108, 1))


def test_half_of_the_texts_of_a_form_are_faulty_and_all_faults_take_turns(texts):
    counts = Counter((text.form, text.fault) for text in texts)
    for form, faults in FAULTS.items():
        assert counts[form, ""] == 108
        assert [counts[form, fault] for fault in faults] == [108 // len(faults)] * len(faults)
    families = Counter((text.explained.sample.source, text.fault) for text in texts)
    assert len(families) == 4 * len(synthetic.FAMILIES)


def test_a_text_without_fault_is_right_by_the_rules_of_its_sample_and_a_faulty_one_is_not(texts):
    for text in texts:
        explained = text.explained
        if "without" not in text.form:
            verdict = synthetic.check(explained.sample, explained.kind, explained.text)
            assert verdict.ok is not bool(text.fault), explained.text


def test_a_faulty_chain_of_thought_concludes_another_answer(texts):
    for text in texts:
        sample = text.explained.sample
        right = sample.options[sample.answer_index]
        if text.form == "chain of thought":
            conclusion = text.explained.text.removeprefix(
                unsupported_texts.without_conclusion(text.explained.text).removesuffix(".")
            )
            assert conclusion.startswith((", so ", ", and the answer is "))
            assert (right in conclusion) is not bool(text.fault), text.explained.text


def test_a_text_without_conclusion_differs_from_the_right_one_if_it_is_faulty(texts):
    shortened = [text for text in texts if text.form.endswith("without its conclusion")]
    right = {text.explained.sample.id: text.explained.text for text in shortened if not text.fault}
    for text in shortened:
        same = text.explained.text == right[text.explained.sample.id]
        assert same is not bool(text.fault)


def test_the_reader_is_trained_on_the_prompts_of_the_gate_and_on_no_judged_question(
    texts, monkeypatch
):
    read = list(benchmark.read_samples(18))
    asked = []

    def score(loaded, questions, **settings):
        asked.extend(questions)
        return [
            Prediction(id=question.id, subject="", gold=question.gold, scores=(0.0, -1.0))
            for question in questions
        ], 0

    monkeypatch.setattr(predictions, "score", score)
    judged = [
        GateInput(sample=sample, kind=kind, text=text, finish_reason="eos")
        for sample in synthetic.generate(18, 0)
        for kind in benchmark.KINDS
        for text in sample.explanations[kind].values()
    ]
    answer_check.answers_found(None, judged)
    assert [prompts.question_prompt(sample) for sample in read] == [one.context for one in asked]
    assert [sample.answer_index for sample in read] == [one.gold for one in asked]
    assert len({sample.id for sample in read}) == 36 and not any(one.explanations for one in read)
    trained = {sample.question for sample in synthetic.generate(900, 0)}
    assert not trained & {text.explained.sample.question for text in texts}


def test_the_tables_have_each_form_and_fault_with_the_share_that_a_gate_fails(texts):
    never, always = [False] * len(texts), [True] * len(texts)
    right = [bool(text.fault) for text in texts]
    failed = {"teacher": always, "reader": right, "concludes_answer": never}
    figures = {
        "alone": {"teacher": 0.5, "reader": 0.25},
        "answer_check": {
            model: {
                form: item.figures() for form, item in benchmark.by_form(texts, verdicts).items()
            }
            for model, verdicts in list(failed.items())[:2]
        },
        "failed": {gate: benchmark.shares_failed(texts, fails) for gate, fails in failed.items()},
    }
    lines = benchmark.text_of(figures).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[2] == ["the teacher", "chain of thought", "108", "0.500", "1.000"]
    assert rows[5] == ["the reader", "chain of thought", "108", "1.000", "1.000"]
    faults = rows[9:]
    assert faults[0] == ["explanation", "fault", "the teacher", "the reader", "`concludes_answer`"]
    assert faults[2] == ["chain of thought", "none", "1.000", "0.000", "0.000"]
    assert faults[3] == ["chain of thought", "of another sample", "1.000", "1.000", "0.000"]
    assert lines[-1].endswith("answered right: the teacher 50.0%, the reader 25.0%.")


def test_models_are_asked_with_the_gate_and_without_an_explanation(teachers, texts):
    some = texts[:12]
    found = benchmark.judge({"teacher": teachers[0]}, some)
    assert set(found["failed"]) == {"teacher", "concludes_answer"}
    assert {len(verdicts) for verdicts in found["failed"].values()} == {12}
    assert 0 <= found["alone"]["teacher"] <= 1
    cots = [text.form == "chain of thought" and bool(text.fault) for text in some]
    assert found["failed"]["concludes_answer"] == cots


def test_the_reader_starts_from_the_weights_of_the_teacher_and_the_novice_from_none(tmp_path):
    data = benchmark.data_config(tmp_path)
    reader, novice = (
        benchmark.training_config(name, tmp_path, 4, 1e-3, 0)
        for name in (benchmark.READER, benchmark.NOVICE)
    )
    assert (reader.init_from, novice.init_from) == (f"{tmp_path}/quickstart/stage2", "")
    assert reader.data == novice.data == f"{data.output}/{data.mixtures[0].name}"
    assert reader.output != novice.output
    assert data.vocabulary.path == f"{tmp_path}/quickstart/vocabulary"
