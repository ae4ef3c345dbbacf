"""`evaluate` with the manifest of the training data: questions that occur in it are flagged."""

import pytest

from teacherlm_jax.cli.main import main
from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.evaluate import evaluate, inputs
from teacherlm_jax.sources.adapters import to_sample
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.sources.raw_rows import RowLocation
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.make_run import make_run
from tests.untrained import save_untrained

ANIMALS = (
    "ocelot",
    "lynx",
    "badger",
    "heron",
    "tapir",
    "gecko",
    "llama",
    "otter",
    "moose",
    "koala",
)
PLACES = ("Peru", "Kenya", "Wales", "Texas", "Nepal", "Crete", "Ghana", "Japan")


def _rows():
    """Return StrategyQA rows as the TeacherLM authors evaluate them: gold facts and a question."""
    return [
        {
            "qid": f"{animal}-{place}",
            "facts": [
                f"The {animal} is an animal that people have seen in many parts of the world.",
                f"{place} is a place.",
            ],
            "origin_question": f"Could the {animal} be seen in {place}?",
            "origin_answer": "true" if len(animal) == 5 else "false",
        }
        for animal in ANIMALS
        for place in PLACES
    ]


def _in_training(number):
    """Return whether a row is in the training file: 71 of 80, like 202 of 228 in the public one."""
    return number % 9 != 4


def _training_texts():
    """Return questions of a training file, near misses and other texts."""
    for number, row in enumerate(_rows()):
        question = row["origin_question"]
        if not _in_training(number):  # near misses, and the facts alone
            yield question.replace("?", " by day?")
            yield f"{' '.join(row['facts'])} Given these facts above, is it so?"
        elif number % 3 == 0:
            yield question.upper().replace("?", " ?")
        elif number % 3 == 1:
            yield f"Fact 1: One fact. Given these facts above, {question.lower()}"
        else:
            yield question
    yield "Determine the correctness of the following sentence. Snow is white."


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_prepared):
    """A folder with evaluation rows, a model, and the prepared data that it was trained on."""
    folder = tmp_path_factory.mktemp("contamination")
    files.write_jsonl(folder / "strategyqa.jsonl", _rows())
    samples = [
        Sample(
            id=str(number),
            question=question,
            answer="yes",
            explanations={"cot": {"human": "It lives in a zoo there, so one could see it."}},
        )
        for number, question in enumerate(_training_texts())
    ]
    texts = [prompts.pieces(sample, "C", "human") for sample in samples]
    plain = ["".join(piece.text for piece in text) for text in texts]
    vocabulary = train_sentencepiece(plain, folder / "vocabulary", size=400, seed=0)
    encoded = packing.encode_texts(texts, vocabulary, "answer")
    write_prepared(folder / "mixture", encoded, vocabulary, length=256)
    other = packing.encode_texts(texts[-1:], vocabulary, "answer")
    write_prepared(folder / "other", other, vocabulary, length=256)
    save_untrained(folder / "model", vocabulary)
    return folder


def _config(folder, *manifests):
    return EvaluateConfig(
        root=str(folder),
        model=str(folder / "model"),
        benchmarks=(BenchmarkConfig("facts", "strategyqa.jsonl", format="strategyqa"),),
        train_manifest=tuple(map(str, manifests)),
    )


@pytest.fixture(scope="module")
def evaluated(folder):
    run = make_run(folder / "run")
    return run.path, evaluate(_config(folder, folder / "mixture" / "manifest.json"), run)


def _read(path):
    return [row for _, row in files.read_jsonl(path)]


def test_exactly_the_questions_of_the_training_file_are_flagged(evaluated):
    path, result = evaluated
    rows = _read(path / "facts.predictions.jsonl")
    expected = [_in_training(number) for number in range(len(_rows()))]
    assert [row["contaminated"] for row in rows] == expected
    assert expected.count(True) == 71
    flagged = _read(path / "facts.contaminated.jsonl")
    assert [row["id"] for row in flagged] == [row["id"] for row in rows if row["contaminated"]]
    assert flagged[0]["words"] == "could the ocelot be seen in peru"
    assert {row["match"] for row in flagged} == {"question"}
    assert result["benchmarks"]["facts"]["contamination"]["flagged"] == 71


def test_the_accuracy_is_reported_with_and_without_flagged_questions(evaluated):
    path, result = evaluated
    figures = result["benchmarks"]["facts"]
    rows = _read(path / "facts.predictions.jsonl")
    right = [row["gold"] == row["prediction"] for row in rows]
    clean = [good for good, row in zip(right, rows, strict=True) if not row["contaminated"]]
    assert figures["accuracy"] == sum(right) / 80
    actual = figures["contamination"]
    assert actual["clean"]["rows"] == 9
    assert actual["clean"]["accuracy"] == sum(clean) / 9
    assert actual["flagged_accuracy"] == pytest.approx((sum(right) - sum(clean)) / 71)
    assert actual["clean"]["interval"][0] < figures["interval"][0]  # fewer questions
    assert actual["not_compared"] == 0


def test_data_without_the_questions_flags_none(folder, tmp_path):
    run = make_run(tmp_path)
    result = evaluate(_config(folder, folder / "other"), run)["benchmarks"]["facts"]
    assert result["contamination"]["flagged"] == 0
    assert result["contamination"]["flagged_accuracy"] is None
    assert result["contamination"]["clean"]["accuracy"] == result["accuracy"]
    assert _read(tmp_path / "facts.contaminated.jsonl") == []


def test_several_mixtures_are_read_and_the_first_occurrence_is_kept(folder, tmp_path):
    run = make_run(tmp_path)
    config = _config(folder, folder / "other", folder / "mixture")
    assert evaluate(config, run)["benchmarks"]["facts"]["contamination"]["flagged"] == 71
    rows = [row["row"] for row in _read(tmp_path / "facts.contaminated.jsonl")]
    assert min(rows) == 0 and len(set(rows)) > 1


def test_the_digests_of_the_manifests_are_among_the_inputs(folder):
    digests = inputs(_config(folder, folder / "other", folder / "mixture/manifest.json"))
    names = ("other", "mixture")
    for index, name in enumerate(names):
        expected = files.file_digest(folder / name / "manifest.json")
        assert digests[f"train_manifest[{index}]"] == expected
    assert not any("manifest" in key for key in inputs(_config(folder)))


def test_without_a_manifest_nothing_is_flagged(folder, tmp_path):
    run = make_run(tmp_path)
    result = evaluate(_config(folder), run)["benchmarks"]["facts"]
    assert "contamination" not in result
    assert not (tmp_path / "facts.contaminated.jsonl").exists()
    assert "contaminated" not in _read(tmp_path / "facts.predictions.jsonl")[0]


def test_a_manifest_that_is_missing_is_refused_before_the_model_is_loaded(folder, tmp_path):
    config = _config(folder, folder / "nowhere")
    config.model = "no model"
    with pytest.raises(UserError, match="nowhere: no such folder; run `teacherlm prepare`"):
        evaluate(config, make_run(tmp_path))


def test_the_bare_option_of_the_command_line_sets_the_manifests(folder, tmp_path, capsys):
    source = (
        "from teacherlm_jax.config import *\n\n"
        "def get_config(variant):\n"
        "    benchmark = BenchmarkConfig('facts', 'strategyqa.jsonl', format='strategyqa')\n"
        f"    return EvaluateConfig(root={str(folder)!r}, model={str(folder / 'model')!r},\n"
        "        benchmarks=(benchmark,))\n"
    )
    (tmp_path / "config.py").write_text(source)
    command = ["evaluate", f"--config={tmp_path}/config.py", f"--config.output={tmp_path}/run"]
    mixtures = f"--train_manifest={folder}/mixture,{folder}/other/manifest.json"
    assert main([*command, mixtures]) == 0
    recorded = files.read_json(tmp_path / "run" / "inputs.json")
    assert {"train_manifest[0]", "train_manifest[1]"} <= recorded.keys()
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "facts: 71 of 80 questions occur in the training data (contamination), see " in log
    assert main(command) == 2  # without the manifests, the finished run has other inputs
    assert "train_manifest[0]" in capsys.readouterr().err


def test_prepare_compares_the_questions_without_their_facts():
    evaluation, training = Questions(), Questions()
    for number, row in enumerate(_rows()[:4]):
        sample = to_sample("strategyqa", row, source="e", line=number)
        evaluation.add("e", RowLocation("e", number), sample)
    bare = {"question": "could the OCELOT be seen in Kenya", "answer": "yes"}
    training.add("t", RowLocation("t", 1), to_sample("cot", bare, source="t", line=1))
    (overlap,) = training.also_in(evaluation)
    assert (overlap.count, overlap.places[0][1].line) == (1, 1)
