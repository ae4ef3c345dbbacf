"""The samples of the study of stages and explanations, and their authors."""

import collections
import pathlib

import pytest

from benchmarks.evidence import real_samples, samples
from teacherlm_jax.cli import config_file
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students
from teacherlm_jax.storage import files

CONFIGS = config_file.load(pathlib.Path(__file__).parents[1] / "configs" / "evidence.py")


@pytest.fixture(scope="module")
def drawn():
    return list(samples.with_authors(list(synthetic.generate(270, 5)), seed=5))


def texts(drawn, kind, author):
    return [sample.explanation(kind, author) for sample in drawn]


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_explanations_are_all_true_ones_of_other_samples_of_the_family(drawn, kind):
    true = texts(drawn, kind, synthetic.AUTHOR)
    permuted = texts(drawn, kind, study_students.PERMUTED_AUTHOR)
    assert collections.Counter(permuted) == collections.Counter(true)
    families = collections.defaultdict(set)
    for sample, text in zip(drawn, true, strict=True):
        families[sample.source].add(text)
    assert all(
        text in families[sample.source] for sample, text in zip(drawn, permuted, strict=True)
    )
    right = [synthetic.check(*each).ok for each in zip(drawn, [kind] * 270, permuted, strict=True)]
    assert sum(right) < 0.35 * len(right)  # families with few answers repeat some texts


@pytest.mark.parametrize("share", study_students.FALSE_SHARES)
def test_the_share_of_false_chains_of_thought_is_the_stated_one(drawn, share):
    author = study_students.false_author(share)
    false = [
        not synthetic.check(sample, "cot", sample.explanation("cot", author)).ok for sample in drawn
    ]
    assert sum(false) / len(false) == pytest.approx(share / 100, abs=0.09)


def test_samples_with_a_larger_false_share_include_those_with_a_smaller_one(drawn):
    wrong = [
        {
            sample.id
            for sample in drawn
            if not synthetic.check(
                sample, "cot", sample.explanation("cot", study_students.false_author(share))
            ).ok
        }
        for share in study_students.FALSE_SHARES
    ]
    assert wrong[0] < wrong[1] < wrong[2] < wrong[3]


def test_texts_are_permuted_within_the_samples_of_a_student(tmp_path):
    samples.write_all(tmp_path, [3])
    for amount in (250, 1000, 4000):
        rows = [row for _, row in files.read_jsonl(tmp_path / f"seed-3/train-{amount}.jsonl")]
        assert len(rows) == amount
        for kind in KINDS:
            texts = [row["explanations"][kind] for row in rows]
            true, permuted = (
                [text[author] for text in texts] for author in ("program", "permuted")
            )
            assert collections.Counter(permuted) == collections.Counter(true)
        settings = CONFIGS.get_config(f"student_data/{amount}/seed-3")
        assert [one.path for one in settings.sources] == [f"train-{amount}.jsonl"]
        assert settings.sources[0].limit == 0


def test_the_sets_of_a_teacher_share_no_question_and_no_held_out_family():
    drawn = {name: list(found) for name, found in samples.drawn_files(3).items()}
    taught = [drawn[name] for name in ("explained", "plain", "taught")]
    assert [len(found) for found in taught] == [2100, 9100, 1000]
    questions = [sample.question for found in taught for sample in found]
    assert len(set(questions)) == len(questions)
    tests = {
        sample.question for name in ("trained", "unseen", "questions") for sample in drawn[name]
    }
    assert not tests & set(questions)
    shown = {sample.source for found in taught for sample in found}
    assert len(shown) == 7
    assert shown == {sample.source for sample in drawn["trained"]}
    assert not shown & {sample.source for sample in drawn["unseen"]}
    assert all(sample.explanations for name in ("explained", "taught") for sample in drawn[name])
    bare = [sample for name in ("plain", "trained", "test") for sample in drawn[name]]
    assert not any(sample.explanations for sample in bare)


def test_samples_of_another_version_are_refused(tmp_path):
    path = tmp_path / "vocabulary.jsonl"
    samples.write_all(tmp_path, [])
    samples.write_all(tmp_path, [])  # the same ones
    rows = [row for _, row in files.read_jsonl(path)]
    files.write_jsonl(path, rows[1:])
    with pytest.raises(UserError, match=r"vocabulary\.jsonl: has other samples .* another --fold"):
        samples.write_all(tmp_path, [])


def test_the_arms_are_trained_on_explanations_that_the_samples_have(drawn):
    authors = {arm.author for arm in study_students.ARMS.values()}
    assert authors == set(drawn[0].explanations["cot"])


def write_rationales(data):
    rows = {
        "creak": [{"question": f"Claim {i}: ice is cold.", "answer": "yes"} for i in range(30)],
        "ecqa": [
            {"question": f"Which {i}?\nOptions:\n- red\n- blue\n- tall", "answer": "blue"}
            for i in range(30)
        ]
        + [{"question": "Which?\nOptions:\n- red\n- red\n- tall", "answer": "red"}],
        "strategyqa": [{"question": f"Is it {i}?", "answer": "no"} for i in range(30)]
        + [{"question": "How many?", "answer": "three"}],
    }
    for name, each in rows.items():
        explained = [{**row, "cot": f"{name} because of {row['question']}"} for row in each]
        files.write_jsonl(data / f"rationale/{name}_train.jsonl", explained)
    asked = {
        "creak": {"sentence": "Ice is cold.", "label": "true"},
        "ecqa": {"q_text": "Which?", "q_ans": "b"}
        | {f"q_op{i}": "abcde"[i - 1] for i in range(1, 6)},
        "strategy_qa": {
            "origin_question": "Is it?",
            "origin_answer": "True",
            "facts": ["Ice is cold."],
        },
    }
    for name, row in asked.items():
        files.write_jsonl(data / f"eval/{name}.jsonl", [row])


def test_real_samples_have_options_and_their_own_and_another_explanation(tmp_path):
    write_rationales(tmp_path)
    unused = real_samples.write_all(tmp_path / "real", tmp_path)
    ambiguous = {"the answer matches more than one option": 1}
    other = {"no options, and an answer other than yes or no": 1}
    assert unused == {"creak": {}, "ecqa": ambiguous, "strategyqa": other}
    real_samples.write_all(tmp_path / "real", tmp_path)  # the same ones
    train = [row for _, row in files.read_jsonl(tmp_path / "real/train.jsonl")]
    assert collections.Counter(row["source"] for row in train) == dict.fromkeys(study_real.SETS, 27)
    assert all(row["options"] for row in train)  # "three" of "How many?" is none
    assert {tuple(row["options"]) for row in train} == {("True", "False"), ("red", "blue", "tall")}
    for row in train:
        human, permuted = (row["explanations"]["cot"][author] for author in ("human", "permuted"))
        assert human.startswith(row["source"]) and permuted.startswith(row["source"])
        assert human != permuted
    for name in study_real.SETS:
        held = [row for _, row in files.read_jsonl(tmp_path / f"real/{name}_held_out.jsonl")]
        assert len(held) == 3
        assert not {row["question"] for row in held} & {row["question"] for row in train}
        (asked,) = [row for _, row in files.read_jsonl(tmp_path / f"real/{name}.jsonl")]
        assert asked["options"] and not asked["explanations"]
