"""The benchmark of the gate `answer_check`: its texts, the reader's prompts, and the tables."""

from collections import Counter

import pytest

import teacherlm_jax
from benchmarks import answer_check as benchmark
from benchmarks import implied_answers, unsupported_texts
from benchmarks.unsupported_texts import FAULTS
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.data import packing, prepared, synthetic
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.rank import Prediction
from teacherlm_jax.storage import files


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


def right_option(sample):
    return sample.options[sample.answer_index]


def test_every_faulty_text_implies_a_wrong_option_and_every_other_the_right_one(texts):
    for text in texts:
        explained = text.explained
        option = implied_answers.implied(explained.sample, explained.kind, explained.text)
        if text.fault == "only the conclusion is wrong":
            assert option == right_option(explained.sample)
        else:
            assert option in explained.sample.options
            assert (option != right_option(explained.sample)) is bool(text.fault), explained


def test_every_faulty_chain_of_thought_concludes_a_wrong_option(texts):
    for text in texts:
        sample = text.explained.sample
        if text.form == "chain of thought":
            option = implied_answers.concluded(sample, text.explained.text)
            assert option in sample.options
            assert (option != right_option(sample)) is bool(text.fault), text.explained.text


def test_a_text_without_conclusion_has_no_word_of_it(texts):
    for text in texts:
        if text.form == "chain of thought without its conclusion":
            shortened = text.explained.text
            assert " So " not in shortened and ", so " not in shortened
            assert not shortened.endswith((".. ", "..")) and "answer" not in shortened
            assert implied_answers.concluded(text.explained.sample, shortened) is None


@pytest.mark.parametrize(
    ("family", "question", "kind", "text", "option"),
    [
        (
            *("comparison", "Tom has 5 cups. True or false: Tom has more than 3 cups."),
            *("fundamental", "To have more than 7 cups is to have at least 8 cups.", "False"),
        ),
        (
            *("comparison", "Tom has 5 cups. True or false: Tom has more than 3 cups."),
            *("fundamental", "To have more than 7 pens is to have at least 8 pens.", None),
        ),
        (
            *("comparison", "Tom has 5 cups. True or false: Tom has more than 3 cups."),
            *("cot", "Tom has 5 cups. 5 cups are fewer than 9 cups.", None),
        ),
        (
            *("units", "Ann has 3 weeks. True or false: Ann has more than 20 days."),
            *("fundamental", "A week has 7 days, so 2 weeks are 14 days.", "False"),
        ),
        (
            *("chain", "Ben is older than Leo. Leo is older than Mia. "),
            *("cot", "Eva is younger than Tom and Tom is younger than Zoe.", "True"),
        ),
        (
            *("membership", "The bag holds keys, hats and forks. "),
            *("fundamental", "Nothing is in the box but keys, combs and forks.", "False"),
        ),
        (
            *("months", "Leo was born in May, but Ann was born in June of the same year. "),
            *("fundamental", "The older one of two was born earlier, and April comes before May."),
            "Ann",
        ),
        (
            *("months", "Leo was born in May, but Ann was born in June of the same year. "),
            *("fundamental", "The older one of two was born earlier, and March comes before July."),
            None,
        ),
    ],
)
def test_the_implied_option_follows_from_the_text_and_the_rest_of_the_question(
    family, question, kind, text, option
):
    ends = {
        "chain": "True or false: Ben is younger than Mia.",
        "membership": "True or false: there are hats in the bag.",
        "months": "Who is older?",
    }
    facts = synthetic.FAMILIES[family].parse(question + ends.get(family, ""))
    solution = facts.solve()
    sample = Sample(
        id="one",
        question=facts.question(),
        options=solution.options,
        answer=f"({'AB'[solution.options.index(solution.answer)]})",
        source=f"synthetic/{family}",
    )
    assert implied_answers.implied(sample, kind, text) == option


def test_the_reader_is_trained_on_no_judged_question(texts):
    folder = "unused"
    quickstart = benchmark.QUICKSTART.pipeline(folder, tiny=False)
    rows = synthetic.generate(quickstart.train_samples, quickstart.seed)
    trained = {sample.question for sample in rows}
    read = {sample.id.rpartition("-")[0] for sample in benchmark.read_samples(18)}
    assert read == {sample.id for sample in synthetic.generate(18, quickstart.seed)}
    assert len(trained) == quickstart.train_samples >= benchmark.Sizes().training_samples
    assert not trained & {text.explained.sample.question for text in texts}


def test_the_reader_is_trained_on_the_prompts_of_the_gate(tmp_path, vocabulary, monkeypatch):
    vocabulary.save(tmp_path / "quickstart/vocabulary")
    files.write_jsonl(tmp_path / "read.jsonl", map(to_row, benchmark.read_samples(2)))
    config = benchmark.data_config(tmp_path)
    teacherlm_jax.prepare(config)
    data = prepared.open(f"{config.output}/{config.mixtures[0].name}")
    reader = data.reader()
    texts = [
        data.vocabulary.decode(tokens).removesuffix("</s>").strip()
        for number in range(data.rows)
        for tokens in packing.texts(reader.row(number))
    ]
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
        for sample in synthetic.generate(2, 0)
        for kind in benchmark.KINDS
        for text in sample.explanations[kind].values()
    ]
    answer_check.answers_found(None, judged)
    assert sorted(texts) == sorted(f"{one.context}{'ABCD'[one.gold]})." for one in asked)


def test_the_tables_have_each_form_and_fault_with_the_share_that_a_gate_fails(texts):
    always = [True] * len(texts)
    never = [False if text.explained.kind == "cot" else None for text in texts]
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
    assert faults[9] == ["fundamental", "none", "1.000", "0.000", ""]
    assert lines[-1].endswith("answered right: the teacher 50.0%, the reader 25.0%.")


def test_models_are_asked_with_the_gate_and_without_an_explanation(teachers, texts, monkeypatch):
    some = texts[:12]
    asked = []

    def answers_found(loaded, judged):
        asked.extend(judged)
        return [True, False, None] * 4

    monkeypatch.setattr(answer_check, "answers_found", answers_found)
    found = benchmark.judge({"teacher": teachers[0]}, some)
    assert asked == [text.explained for text in some]
    assert set(found["failed"]) == {"teacher", "concludes_answer"}
    assert found["failed"]["teacher"] == [False, True, False] * 4
    assert 0 <= found["alone"]["teacher"] <= 1
    by_form = {"chain of thought": True, "chain of thought without its conclusion": False}
    assert found["failed"]["concludes_answer"] == [
        bool(text.fault) and by_form[text.form] if text.form in by_form else None for text in some
    ]


def test_the_reader_starts_from_the_weights_of_the_teacher_and_the_novice_from_none(tmp_path):
    data = benchmark.data_config(tmp_path)
    reader, novice = (
        benchmark.training_config(name, tmp_path, 4, 1e-3, 0)
        for name in (benchmark.READER, benchmark.NOVICE)
    )
    assert (reader.init_from, novice.init_from) == (f"{tmp_path}/quickstart/stage2", "")
    assert reader.data == novice.data == f"{data.output}/{data.mixtures[0].name}"
    assert reader.output != novice.output
    other = benchmark.training_config(benchmark.READER, tmp_path, 4, 1e-3, 1)
    assert (other.output, other.seed) == (f"{tmp_path}/reader-1", 1)
    assert reader.optimizer.learning_rate == 1e-3 and reader.optimizer.warmup_steps == 0
    assert reader.model == novice.model == benchmark.QUICKSTART.MODEL
    assert data.vocabulary.path == f"{tmp_path}/quickstart/vocabulary"
