"""Table 2 of the paper for any samples and prepared rows, and their lengths."""

import logging
import re

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.report.data_report import report_data
from teacherlm_jax.runs.run import Run
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

LENGTH = 256
FORMS = ("text", "C", "CMF", "FCM", "shuffle")
TEXTS = {"cot": "Six times seven is {}.", "fundamental": "Times is adding.", "mistake": "To add."}


def sample(number, options=(), source="sums"):
    texts = {kind: {"teacher": text.format(number)} for kind, text in TEXTS.items()}
    texts["cot"]["human"] = "By heart, of course, as everyone else does."
    return Sample(
        id=f"{source}-{number}",
        question=f"What is {number} times seven (A) or so?",
        answer="(B)" if options else str(7 * number),
        options=options,
        source=source,
        explanations=texts if number else {},
    )


SAMPLES = (
    *(sample(number) for number in range(6)),
    *(sample(number, ("many", "42", "(A) lot"), "choices") for number in range(4)),
    *(sample(number, ("many", "42"), "choices") for number in range(4, 6)),
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    texts = ["".join(p.text for p in prompts.pieces(s, "text", "")) for s in SAMPLES]
    return train_sentencepiece(
        [*texts, *TEXTS.values(), *prompts.TRIGGERS.values()] * 4,
        tmp_path_factory.mktemp("vocabulary"),
        size=370,
        seed=0,
    )


@pytest.fixture
def data(tmp_path, vocabulary):
    """Return a folder of samples with a vocabulary beside them."""
    folder = tmp_path / "data"
    rows = [to_row(item) for item in SAMPLES]
    files.write_jsonl(folder / "samples/part-00000-of-00002.jsonl", rows[:5])
    files.write_jsonl(folder / "samples/part-00001-of-00002.jsonl", rows[5:])
    vocabulary.save(folder / "vocabulary")
    return folder


@pytest.fixture
def prepared(write_prepared):
    """Return a function that writes the samples in one form as a mixture."""

    def write(folder, vocabulary, form):
        texts = [
            packing.encode_pieces(prompts.pieces(item, form, "teacher"), vocabulary, "text")
            for item in SAMPLES
            if form == "text" or item.explanations
        ]
        return write_prepared(
            *(folder, texts, vocabulary, LENGTH),
            rows_per_shard=2,
            texts=len(texts),
            tokens=sum(len(text.tokens) for text in texts),
            tasks={f"sums/{form}": {"texts": len(texts), "tokens": 99}},
            drops={f"sums/{form}": {"no cot by teacher": 2}},
        )

    return write


def mean_tokens(vocabulary, texts):
    sizes = [len(vocabulary.encode(text)) for text in texts]
    return round(sum(sizes) / len(sizes), 2)


def report(path, *more):
    """Run `teacherlm report --data PATH`; return its folder and the figures in its result."""
    assert main.main(["report", "--data", str(path), *more]) == 0
    folder = path.with_name(f"{path.name}.report")
    return folder, files.read_json(folder / "result.json")["data"]


def test_samples_are_reported_by_source_with_options_and_means_by_kind_and_author(data, vocabulary):
    _, actual = report(data)
    assert list(actual) == ["sums", "choices"]
    sums, choices = actual.values()
    assert (sums["rows"], sums["options"]) == (6, {"0": 6})
    assert (choices["rows"], choices["options"]) == (6, {"2": 2, "3": 4})
    explained = [item for item in SAMPLES[:6] if item.explanations]
    questions = [prompts.question_prompt(item) for item in SAMPLES[:6]]
    assert sums["mean_tokens"] == {
        "question": mean_tokens(vocabulary, questions),
        "answer": mean_tokens(vocabulary, [f" {item.answer}" for item in SAMPLES[:6]]),
        "cot by human": mean_tokens(vocabulary, [f" {explained[0].explanation('cot', 'human')}"]),
        "cot by teacher": mean_tokens(
            vocabulary, [f" {item.explanation('cot', 'teacher')}" for item in explained]
        ),
        "fundamental by teacher": mean_tokens(vocabulary, [f" {TEXTS['fundamental']}"]),
        "mistake by teacher": mean_tokens(vocabulary, [f" {TEXTS['mistake']}"]),
    }


def test_the_table_is_printed_and_on_the_page(data, capsys):
    folder, actual = report(data)
    shown = " ".join(capsys.readouterr().out.split())
    question = f"{actual['sums']['mean_tokens']['question']:.1f}"
    header = "data rows options question answer cot by human cot by teacher fundamental by teacher"
    assert f"{header} mistake by teacher sums 6 – {question} " in shown
    assert "choices 6 2 and 3 " in shown
    page = re.sub(r"<[^>]+>", " ", (folder / "report.html").read_text())
    assert f"sums 6 – {question} " in " ".join(page.split())
    assert "StrategyQA 2 1,832 228 28 90 192 55" in " ".join(page.split())
    assert "| choices | 6 | 2 and 3 |" in (folder / "report.md").read_text()
    drawn = [path.name for path in sorted((folder / "figures").iterdir())]
    assert drawn == ["lengths-0.svg", "lengths-1.svg"]


def test_prepared_rows_give_the_figures_of_their_samples(prepared, data, tmp_path, vocabulary):
    _, of_samples = report(data)
    for form in FORMS:
        prepared(tmp_path / "prepared" / form, vocabulary, form)
    _, actual = report(tmp_path / "prepared")
    assert sorted(actual) == sorted(FORMS)
    assert actual["text"] == {"rows": 12, "options": {"0": 6, "2": 2, "3": 4}, "mean_tokens": {}}
    for form in FORMS[1:]:
        assert actual[form]["rows"] == 10
        assert actual[form]["options"] == {"0": 5, "2": 2, "3": 3}
    of_both = [of_samples[name]["mean_tokens"] for name in ("sums", "choices")]
    for name in ("fundamental by teacher", "mistake by teacher"):
        assert actual["CMF"]["mean_tokens"][name] == of_both[0][name] == of_both[1][name]
    cots = [f" {item.explanation('cot', 'teacher')}" for item in SAMPLES if item.explanations]
    for form in FORMS[1:]:
        assert actual[form]["mean_tokens"]["cot by teacher"] == mean_tokens(vocabulary, cots)
    assert set(actual["C"]["mean_tokens"]) == {"cot by teacher"}


def test_means_of_the_manifest_take_precedence(prepared, tmp_path, vocabulary):
    folder = prepared(tmp_path / "C", vocabulary, "C")
    manifest = files.read_json(folder / "manifest.json")
    by_field = {"question": {"mean": 20.5}, "cot": {"teacher": {"mean": 8.25}}}
    manifest["statistics"] = {"tokens_by_field": by_field}
    files.write_json(folder / "manifest.json", manifest)
    _, actual = report(folder)
    assert actual["C"]["mean_tokens"] == {"question": 20.5, "cot by teacher": 8.25}


def test_a_mixture_shows_the_means_of_its_sources(prepared, tmp_path, vocabulary):
    folder = prepared(tmp_path / "C", vocabulary, "C")
    manifest = files.read_json(folder / "manifest.json")
    manifest["tasks"] = {
        "a/C": {"texts": 1, "tokens": 9},
        "a/text": {"texts": 3, "tokens": 9},
        "b/C": {"texts": 5, "tokens": 9},
    }
    cot = {"teacher": {"count": 1, "mean": 8.0}}
    manifest["statistics"] = {
        "tokens_by_task": {
            "a/C": {"question": {"count": 1, "mean": 10.0}, "cot": cot},
            "a/text": {"question": {"count": 3, "mean": 20.0}},
            "b/C": {"question": {"count": 5, "mean": 7.0}},
        }
    }
    files.write_json(folder / "manifest.json", manifest)
    written = (report(folder)[0] / "report.md").read_text()
    assert "| source | texts | question | cot by teacher |" in written
    assert "| a | 4 | 17.5 | 8.0 |" in written
    assert "| b | 5 | 7.0 | – |" in written


def test_the_tasks_of_a_mixture_show_dropped_and_truncated_texts(prepared, tmp_path, vocabulary):
    folder = prepared(tmp_path / "C", vocabulary, "C")
    manifest = files.read_json(folder / "manifest.json")
    manifest["too_long"] = {"sums/C": {"keep_last": 3}, "choices/C": {"drop": 4}}
    files.write_json(folder / "manifest.json", manifest)
    written = (report(folder)[0] / "report.md").read_text()
    assert "| sums/C | 10 | 99 |  |" in written
    assert "| sums/C | 2 | – | dropped: no cot by teacher |" in written
    assert "| sums/C | 3 | – | too long: keep_last |" in written
    assert "choices/C" not in written


def test_refused_rows_are_counted_with_the_reason(data):
    path = data / "samples/part-00000-of-00002.jsonl"
    path.write_text(path.read_text() + '{"id": "x"}\n')
    folder, actual = report(data)
    assert actual["sums"]["rows"] == 6
    assert "1 row refused: no question" in (folder / "report.md").read_text()
    assert "no question" in (folder / "refused.jsonl").read_text()


def test_samples_without_a_source_are_named_by_their_file(data, tmp_path):
    rows = [to_row(item) | {"source": ""} for item in SAMPLES[:2]]
    files.write_jsonl(tmp_path / "mine-00000-of-00001.jsonl", rows)
    more = [f"--config.vocabulary={data / 'vocabulary'}", f"--config.output={tmp_path / 'out'}"]
    assert main.main(["report", f"--data={tmp_path / '*.jsonl'}", *more]) == 0
    assert list(files.read_json(tmp_path / "out/result.json")["data"]) == ["mine"]


def test_annotated_samples_are_counted_with_the_vocabulary_of_their_teacher(data, tmp_path):
    data.rename(tmp_path / "teacher")
    annotation = {
        "author": "teacher",
        "gates": {},
        "teacher": str(tmp_path / "teacher/checkpoints/3"),
    }
    rows = [to_row(item) | {"annotations": {"cot": annotation}} for item in SAMPLES]
    files.write_jsonl(tmp_path / "a/b/c/annotated.jsonl", rows)
    _, actual = report(tmp_path / "a/b/c/annotated.jsonl")
    assert actual["sums"]["mean_tokens"]["cot by teacher"] > 1


def test_the_page_is_named_by_the_address_of_the_run_and_not_by_its_copy(data, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    run = Run(RunPlace(StoragePath(tmp_path / "address"), copy), logging.getLogger("test"))
    result = report_data(ReportConfig(output="", data=str(data)), run)
    assert (copy / "report.html").exists()
    assert result["page"] == str(tmp_path / "address" / "report.html")


def refusal(capsys, *arguments):
    assert main.main(["report", *map(str, arguments)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    return shown


def test_another_vocabulary_is_refused_by_its_digest(prepared, tmp_path, vocabulary, capsys):
    folder = prepared(tmp_path / "C", vocabulary, "C")
    other = train_sentencepiece(["four five six"] * 9, tmp_path / "other", size=370, seed=0)
    message = refusal(capsys, "--data", folder, f"--config.vocabulary={tmp_path / 'other'}")
    assert (
        f"{tmp_path / 'other'}: the digest of this vocabulary is {other.digest}, but the mixture C"
        in message
    )
    other.save(folder / "vocabulary")
    assert f"{folder / 'vocabulary'}: has the digest {other.digest}" in refusal(
        capsys, "--data", folder
    )


def test_data_that_cannot_be_reported_is_refused(data, tmp_path, capsys):
    (data / "vocabulary").rename(tmp_path / "elsewhere")
    assert "no vocabulary beside it to count its tokens with" in refusal(capsys, "--data", data)
    assert "nowhere: no such file or folder" in refusal(capsys, "--data", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere.report").exists()
    for empty in (["--data"], ["--data="], ["--data", "--config.format=cot"]):
        assert "--data: no value; write --data=VALUE" in refusal(capsys, *empty)
    assert "config.output: empty" in refusal(capsys, f"--data={tmp_path}/*.jsonl")
    neither = "config.root: empty; set it to report the runs below a folder, or set --data"
    assert neither in refusal(capsys)
    both = refusal(capsys, "--data", data, "--config.root=runs")
    assert f"config.root: runs, but --data={data} is set too; leave one of them out" in both
    root = ("--config.root=runs", "--config.output=out")
    assert "config.format: works only with --data" in refusal(capsys, *root, "--config.format=cot")


def test_a_manifest_of_another_shape_is_refused(prepared, tmp_path, vocabulary, capsys):
    folder = prepared(tmp_path / "C", vocabulary, "C")
    manifest = files.read_json(folder / "manifest.json")
    del manifest["inputs"]["mixture"]
    files.write_json(folder / "manifest.json", manifest)
    message = refusal(capsys, "--data", folder)
    assert "the key inputs.mixture.author is missing; remove this folder and run" in message


def test_many_sources_share_one_figure(data, tmp_path):
    rows = [to_row(sample(1, source=f"source {number}")) for number in range(9)]
    files.write_jsonl(data / "samples/part-00000-of-00002.jsonl", rows)
    folder, actual = report(data)
    assert len(actual) == 11
    assert [path.name for path in (folder / "figures").iterdir()] == ["lengths-0.svg"]
    assert "### all 11 datasets" in (folder / "report.md").read_text()
