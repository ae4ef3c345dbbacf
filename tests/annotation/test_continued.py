"""Jobs that are continued: grown sources, damaged shards, changed inputs, and what is tokenized."""

import dataclasses
import re
import shutil
from collections import Counter

import pytest

from teacherlm_jax.annotation.job import job, job_summary
from teacherlm_jax.cli import main
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

SAMPLES = list(synthetic.generate(9, seed=8))


@pytest.fixture
def tokenized(monkeypatch):
    """Counts of texts given to the tokenizer, and of its calls under the key "calls"."""
    counts = Counter()

    def encode_batch(self, texts):
        counts.update(texts)
        counts["calls"] += 1
        return real(self, texts)

    real = Vocabulary.encode_batch
    monkeypatch.setattr(Vocabulary, "encode_batch", encode_batch)
    monkeypatch.setattr(Vocabulary, "encode", None)
    return counts


def _write(folder, samples):
    files.write_jsonl(folder / "samples.jsonl", [to_row(sample) for sample in samples])


@pytest.fixture
def start(make_config, teachers, tmp_path):
    """A function that writes a source of some samples and annotates it like the command."""

    def annotate(samples, **settings):
        _write(tmp_path, samples)
        config = dataclasses.replace(
            make_config(cot=teachers[0], mistake=teachers[0]),
            root=str(tmp_path),
            output=str(tmp_path / "run"),
            **settings,
        )
        with run_folder.open_run(config.output, "annotate", config) as run:
            result = job.annotate(config, run)
            run.finish(result)
        return result

    return annotate


def _log(tmp_path):
    return (tmp_path / "run/log.txt").read_text()


def _files(tmp_path):
    return {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for part in ("texts", "samples")
        for path in sorted((tmp_path / "run" / part).rglob("part-*"))
    }


def test_a_prompt_is_tokenized_for_the_plan_and_for_its_shard_while_its_texts_are_missing(
    start, tokenized, tmp_path
):
    start(SAMPLES)
    assert tokenized.pop("calls") == 1 + 3, "once for the plan, and once for each shard"
    questions = {text: count for text, count in tokenized.items() if text.startswith("Q: ")}
    assert len(questions) == 9
    assert set(questions.values()) == {2}
    tokenized.clear()
    start(SAMPLES)
    assert not tokenized, "a finished job is checked without a tokenizer"
    path = tmp_path / "run/texts/mistake/part-00001.jsonl"  # samples 4 to 7
    rows = [row for _, row in files.read_jsonl(path)]
    files.write_jsonl(path, [row for row in rows if row["id"] != SAMPLES[5].id])
    start(SAMPLES)
    assert tokenized["calls"] == 1
    questions = {text for text in tokenized if text.startswith("Q: ")}
    assert len(questions) == 1
    assert SAMPLES[5].question in questions.pop()


def test_a_finished_job_writes_only_samples_that_are_not_as_they_should_be(start, tmp_path):
    def written():
        return {path.name: path.stat().st_ino for path in (tmp_path / "run/samples").iterdir()}

    start(SAMPLES)
    before, content = written(), _files(tmp_path)
    start(SAMPLES)
    assert written() == before
    (tmp_path / "run/samples/part-00001.jsonl").write_text("damaged")
    start(SAMPLES)
    after = written()
    assert _files(tmp_path) == content
    assert [name for name in before if after[name] != before[name]] == ["part-00001.jsonl"]


@pytest.mark.parametrize("unfinished", [False, True])
def test_rows_added_to_the_source_are_annotated_too(start, tmp_path, unfinished):
    start(SAMPLES)
    expected = _files(tmp_path)
    shutil.rmtree(tmp_path / "run")
    start(SAMPLES[:6])
    if unfinished:
        (tmp_path / "run/result.json").unlink()
        (tmp_path / "run/texts/cot/part-00001.jsonl").unlink()
    before = _files(tmp_path)
    result = start(SAMPLES)
    assert result["rows"] == 9
    assert result["texts"] == 2 * 3 + 2 * unfinished
    assert "new rows in the source: 3; they are annotated too" in _log(tmp_path)
    after = _files(tmp_path)
    assert before.items() <= after.items(), "finished shards stay"
    assert sorted(after) == sorted(
        f"run/{part}/part-0000{index}.jsonl"
        for part in ("texts/cot", "texts/mistake", "samples")
        for index in range(3)
    )
    # the same texts as those of a job that knew all rows from the start
    assert _lines(after) == _lines(expected)


def _lines(shards):
    """Return the lines of all shards, sorted."""
    return sorted(line for text in shards.values() for line in text.splitlines())


def test_a_finished_job_has_no_files_of_processes_that_were_killed(start, tmp_path):
    (tmp_path / "run/texts/cot").mkdir(parents=True)
    left = ("texts/cot/.part-00000.jsonl.partial.x1", "texts/cot/part-00000.jsonl.partial")
    for name in left:
        (tmp_path / "run" / name).write_text("")
    with pytest.raises(UserError, match="has explanations"):
        start(SAMPLES[:2])
    shutil.rmtree(tmp_path / "run/texts")
    start(SAMPLES[:2])
    for name in left:
        (tmp_path / "run" / name).write_text("")
    start(SAMPLES[:2])
    assert not [name for name in left if (tmp_path / "run" / name).exists()]


def test_a_finished_job_that_did_not_change_keeps_its_result(start, tmp_path):
    result = start(SAMPLES[:2])
    assert result["texts"] == 4
    assert start(SAMPLES[:2]) == result
    assert "finished before, and its inputs have not changed" in _log(tmp_path)


def test_the_log_ends_with_a_table_of_what_was_written(start, tmp_path):
    result = start(SAMPLES[:2], gates=("not_empty", "concludes_answer"))
    run, log = tmp_path / "run", _log(tmp_path)
    assert result["kinds"]["cot"]["gates"]["concludes_answer"] == 2
    assert log.endswith(job_summary.summary(run, result) + "\n")


def test_no_gates_are_reported_as_no_check(start, tmp_path):
    start(SAMPLES[:1], gates=())
    assert "\n  not checked by any gate\n" in _log(tmp_path)


@pytest.mark.parametrize("finished", [True, False])
def test_changed_or_missing_rows_are_refused_by_id(start, tmp_path, finished):
    start(SAMPLES[:3], gates=())
    if not finished:
        (tmp_path / "run/result.json").unlink()
    changed = dataclasses.replace(SAMPLES[1], question=f"{SAMPLES[1].question} Why?")
    with pytest.raises(UserError, match=f":2: the sample '{changed.id}' has changed since this"):
        start([SAMPLES[0], changed, SAMPLES[2]], gates=())
    with pytest.raises(
        UserError, match=f"lacks 1 of this job's samples, for example {SAMPLES[0].id}"
    ):
        start(SAMPLES[1:3], gates=())
    start(SAMPLES[:3], gates=())  # the remedy: restore the rows


def test_a_newer_checkpoint_of_a_teacher_is_refused_by_key_and_digest(
    start, make_teacher, vocabulary, make_config, tmp_path
):
    teacher = make_teacher(tmp_path / "teacher", vocabulary, seed=0)
    settings = {"teachers": make_config(cot=teacher).teachers}
    start(SAMPLES[:2], **settings)
    assert list(job.inputs(make_config(cot=teacher))) == ["teachers.cot"]
    newer = make_teacher(tmp_path / "newer", vocabulary, seed=1)
    shutil.copytree(newer / "checkpoints/7", teacher / "checkpoints/8")
    with pytest.raises(UserError, match=r"inputs changed .*config\.teachers\.cot=.* \(digest "):
        start(SAMPLES[:2], **settings)
    settings["teachers"].cot = str(teacher / "checkpoints/7")
    start(SAMPLES[:2], **settings)  # the remedy: name the checkpoint


@pytest.mark.parametrize("name", ["part-00000.jsonl", "part-00000.jsonl.partial"])
def test_only_the_explanation_of_a_damaged_line_is_generated_again(start, tmp_path, name):
    start(SAMPLES[:4])
    expected = _files(tmp_path)
    (tmp_path / "run/result.json").unlink()
    complete = tmp_path / "run/texts/cot/part-00000.jsonl"
    lines = complete.read_bytes().splitlines()
    complete.unlink()
    (complete.parent / name).write_bytes(b"\n".join([lines[0], lines[1][:40], *lines[2:], b""]))
    result = start(SAMPLES[:4])
    assert result["texts"] == 1
    assert _files(tmp_path) == expected
    assert f"{name}: damaged lines: 1, the first is line 2; they are dropped" in _log(tmp_path)


def _with_a_long_question(words):
    long = dataclasses.replace(SAMPLES[3], question=f"{'really ' * words}{SAMPLES[3].question}")
    return [*SAMPLES[:3], long, *SAMPLES[4:]], long


def test_a_row_too_long_for_the_learned_positions_is_refused_and_all_others_are_explained(
    start, make_teacher, make_config, vocabulary, tmp_path
):
    samples, long = _with_a_long_question(words=40)
    opt = make_teacher(tmp_path / "opt", vocabulary, 0, family="opt", max_positions=128)
    teachers = make_config(cot=opt).teachers
    result = start(samples, teachers=teachers, gates=())
    assert (result["rows"], result["refused"]) == (8, 1)
    (refused,) = (row for _, row in files.read_jsonl(tmp_path / "run/refused.jsonl"))
    assert refused["row"]["id"] == long.id
    assert "more than the 122 that 128 learned positions leave with" in refused["reason"]
    assert f"the prompt of '{long.id}' has " in _log(tmp_path)
    (tmp_path / "run/result.json").unlink()
    assert start(samples, teachers=teachers, gates=())["refused"] == 1


def test_one_long_prompt_does_not_enlarge_the_cache_of_all_slots(start, monkeypatch):
    engines = []

    class RecordingEngine(Engine):
        def __init__(self, model, **settings):
            engines.append((settings["prompt_length"], settings["slots"]))
            super().__init__(model, **settings)

    monkeypatch.setattr(texts, "Engine", RecordingEngine)
    samples, _ = _with_a_long_question(words=100)
    result = start(samples + list(synthetic.generate(4, seed=9)), slots=64, gates=())
    assert result["rows"] == 13
    (typical, slots), (longest, few) = engines
    assert (slots, few) == (24, 8)  # one for each of the eight devices that share a batch
    assert longest > 4 * typical


def test_the_command_refuses_too_many_slots_and_runs_with_fewer(
    make_config, teachers, tmp_path, monkeypatch, capsys
):
    _write(tmp_path, SAMPLES)
    path = tmp_path / "config.py"
    path.write_text(
        "from teacherlm_jax.config import *\n"
        "def get_config(variant):\n"
        f"    return AnnotateConfig(output={str(tmp_path / 'run')!r}, root={str(tmp_path)!r},\n"
        "        source=SourceConfig('toys', 'samples.jsonl'),\n"
        f"        teachers=TeachersConfig(cot={str(teachers[0])!r},\n"
        f"                                mistake={str(teachers[0])!r}),\n"
        "        sampling=SamplingConfig(max_new_tokens=6))\n"
    )
    free = "teacherlm_jax.generation.slot_memory.free_bytes"
    monkeypatch.setattr(free, lambda *_: 30_000)
    assert main.main(["annotate", f"--config={path}"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    (fewer,) = re.findall(r"lower config\.slots \(to at most (\d+)\)", message)
    assert 8 <= int(fewer) < 24
    # a refused run has no results, so all its settings may still change
    remedies = [f"--config.slots={fewer}", "--config.seed=1"]
    assert main.main(["annotate", f"--config={path}", *remedies]) == 0
