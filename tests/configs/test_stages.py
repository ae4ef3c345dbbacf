"""The configs of teachers and students: the paper's numbers in them, and two steps of each kind."""

import dataclasses
import importlib.util
import os
import pathlib

import pytest

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.cli import main
from teacherlm_jax.config import FORMS, fields
from teacherlm_jax.data import packing
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
BENCHMARKS = {
    "creak.jsonl": {"sentence": "Red is a colour.", "label": "true"},
    "ecqa.jsonl": {"q_text": "What is red?", "q_ans": "a rose"}
    | {f"q_op{n}": text for n, text in enumerate(("the sky", "a rose", "snow", "sea", "ash"), 1)},
    "strategy_qa.jsonl": {
        "facts": ["Roses are red."],
        "origin_question": "Is a rose red?",
        "origin_answer": True,
    },
    "mmlu_test.jsonl": {
        "subject": "botany",
        "question": "What is red?",
        "choices": ["snow", "a rose", "ash", "sea"],
        "answer": 1,
    },
}


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TEACHER, STUDENT = load("teacher"), load("student")
TEACHERS = [f"{size}/{stage}" for size in TEACHER.PAPER for stage in TEACHER.stages_of(size)]
STUDENTS = [
    f"{model}/{which}/{FORMS[(index + number) % len(FORMS)]}"
    for index, model in enumerate(STUDENT.MODELS)
    for number, which in enumerate(STUDENT.SETS)
]
# The tiny forms of the others are the same but for folders and rates.
TRAINED_TEACHERS = [name for name in TEACHERS if name.startswith(("560m/", "176b/"))]
TRAINED_STUDENTS = [name for name in STUDENTS if name.startswith(("bloom-1b1/", "opt-1.3b/"))]


@pytest.fixture(scope="module")
def folder(write_prepared, tmp_path_factory):
    """Folder with the benchmarks, and with prepared rows under the name of every mixture."""
    folder = tmp_path_factory.mktemp("folder")
    texts = [f"Q: What is {n}? A: The answer is (B). It is red." for n in range(40)]
    vocabulary = train_sentencepiece(texts, folder / "rows/vocabulary", size=400, seed=0)
    ids = [[*vocabulary.encode(text), vocabulary.eos_id] for text in texts]
    encoded = [packing.Encoded(text, [True] * len(text)) for text in ids]
    write_prepared(folder / "rows", encoded, vocabulary, length=64)
    (folder / "data").mkdir()
    stages = [f"teacher_{stage}" for stage in (*TEACHER.STAGES, TEACHER.CONTROL)]
    for name in (*stages, *(f"student_{form}" for form in FORMS)):
        (folder / "data" / name).symlink_to(folder / "rows")
    (folder / "eval").mkdir()
    for name, row in BENCHMARKS.items():
        files.write_jsonl(folder / "eval" / name, [row])
    return folder


def teacher(folder, variant):
    settings = f"root={folder}/runs,data={folder}/data,mmlu={folder}/eval/mmlu_test.jsonl,tiny"
    return f"{variant},{settings}"


def student(folder, variant):
    return f"{variant},root={folder}/runs,data={folder}/data,eval={folder}/eval,tiny"


@pytest.mark.parametrize("variant", TRAINED_TEACHERS)
def test_teachers_train_in_their_tiny_form(folder, variant):
    assert main.main(["train", f"--config={FOLDER}/teacher.py:{teacher(folder, variant)}"]) == 0
    run = folder / "runs" / variant
    assert files.read_json(run / "result.json")["step"] == 2
    assert [row["step"] for row in selection.measurements(run)] == [1, 2]


@pytest.mark.parametrize("variant", sorted({*TEACHERS} - {*TRAINED_TEACHERS}))
def test_the_tiny_form_of_another_teacher_has_another_rate_and_folder_only(folder, variant):
    size, _, stage = variant.partition("/")
    made = TEACHER.get_config(teacher(folder, variant))
    fields.check(made)
    like = TEACHER.get_config(teacher(folder, f"560m/{stage}"))
    rate = TEACHER.PAPER[size][0]
    assert made == dataclasses.replace(
        like,
        output=like.output.replace("560m", size),
        init_from=like.init_from.replace("560m", size),
        optimizer=dataclasses.replace(like.optimizer, learning_rate=rate),
    )


@pytest.mark.parametrize("variant", TRAINED_STUDENTS)
def test_students_train_in_their_tiny_form(folder, variant):
    assert main.main(["train", f"--config={FOLDER}/student.py:{student(folder, variant)}"]) == 0
    model, which, form = variant.split("/")
    run = folder / "runs" / model / f"{which}_{form}"
    assert files.read_json(run / "result.json")["step"] == 2
    assert selection.measurements(run)


@pytest.mark.parametrize("variant", sorted({*STUDENTS} - {*TRAINED_STUDENTS}))
def test_the_tiny_form_of_another_student_has_other_folders_only(folder, variant):
    model, which, _ = variant.split("/")
    made = STUDENT.get_config(student(folder, variant))
    fields.check(made)
    family = model.split("-")[0].removesuffix("z")
    (name,) = (name for name in TRAINED_STUDENTS if name.startswith(f"{family}-") and which in name)
    like = STUDENT.get_config(student(folder, name))
    assert made == dataclasses.replace(like, output=made.output, data=made.data)


def test_stages_use_the_papers_learning_rates_batch_sizes_and_tokens():
    expected = {
        "560m/stage1": (3e-4, 256, 5e9),
        "1b1/stage2": (1e-4, 512, 7.5e9),
        "3b/stage3_mistake": (4e-5, 512, 0.5e9),
        "7b1/stage1": (2e-5, 768, 0.5e9),
        "7b1/no_stage": (2e-5, 768, 10e9),
        "176b/stage2": (6e-5, 1024, 1e9),
    }
    for variant, (rate, rows, tokens) in expected.items():
        config = TEACHER.get_config(variant)
        fields.check(config)
        assert (config.optimizer.learning_rate, config.batch_size) == (rate, rows)
        assert config.steps * rows * 2048 == pytest.approx(tokens, rel=1e-3)
        assert config.model.vocab_size == 250_880 and config.model.remat == "full"


def test_each_stage_starts_from_the_best_checkpoint_of_the_previous_stage():
    def start(variant):
        return TEACHER.get_config(f"{variant},root=r,base=b").init_from

    assert start("7b1/stage1") == start("7b1/no_stage") == start("176b/stage2") == "b"
    assert start("7b1/stage2") == "r/7b1/stage1/checkpoints/best"
    assert start("7b1/stage3_cot") == "r/7b1/stage2/checkpoints/best"


def test_students_use_the_papers_learning_rates_and_number_of_epochs(folder, monkeypatch):
    def config(variant):
        return STUDENT.get_config(f"{variant},data={folder}/data,root=r")

    multi, single = config("opt-6.7b/multi/CMF"), config("bloomz-7b1/creak/C")
    for variant_config in (multi, single):
        fields.check(variant_config)
    rows = files.read_json(folder / "rows/manifest.json")["rows"]
    assert (multi.optimizer.learning_rate, multi.batch_size) == (2e-5, 256)
    assert multi.steps == -(-rows // 256)
    assert (single.optimizer.learning_rate, single.batch_size) == (6e-6, 64)
    assert single.steps == -(-rows * 10 // 64) and single.optimizer.warmup_steps == 0
    assert single.validation.metric == "creak/accuracy"
    assert config("bloomz-7b1/creak/C,steps=7").steps == 7
    assert config("bloomz-7b1/creak/C,steps=98").validation.every == 10, "after each of ten epochs"
    assert config("bloomz-7b1/creak/C,steps=98,epochs=2").validation.every == 49
    monkeypatch.chdir(folder)
    assert os.path.isdir("data")
    with pytest.raises(UserError, match="r/multi_data/student_C: no such folder"):
        STUDENT.get_config("opt-6.7b/multi/C,root=r")


@pytest.mark.parametrize(
    ("module", "variant", "message"),
    [
        (TEACHER, "176b/stage1", "unknown variant '176b/stage1'; known: 560m/stage1"),
        (TEACHER, "", "unknown variant ''"),
        (STUDENT, "bloom-560m/multi/C", "unknown 'bloom-560m' in .* known: bloom-1b1"),
        (STUDENT, "opt-6.7b/gsm8k/C", "unknown 'gsm8k' in .* known: multi, creak"),
        (STUDENT, "opt-6.7b/multi/MC", "unknown 'MC' in"),
        (
            STUDENT,
            "opt-6.7b/multi",
            "expected MODEL/SET/FORM or MODEL/SET/FORM/AUTHOR, .*, got 'opt-6.7b/multi'",
        ),
    ],
)
def test_unknown_variants_are_refused_with_the_known_ones(module, variant, message):
    with pytest.raises(UserError, match=message):
        module.get_config(variant)


def test_student_data_has_a_mixture_of_every_form():
    config = load("student_data").get_config("creak,data=d,root=r,author=human,files=*.jsonl")
    fields.check(config)
    assert (config.root, config.sources[0].path) == ("d", "*.jsonl")
    assert config.output == "r/creak_data"
    assert {mixture.name for mixture in config.mixtures} == {f"student_{form}" for form in FORMS}
    assert {mixture.author for mixture in config.mixtures} == {"human"}
    with pytest.raises(UserError, match="unknown variant 'gsm8k'"):
        load("student_data").get_config("gsm8k")
