"""The whole job with a real engine: what is on disk, and that interruptions change none of it."""

import dataclasses
import json
import logging
import os
import signal
from typing import ClassVar

import pytest

from teacherlm_jax import files
from teacherlm_jax.annotation import job, plan
from teacherlm_jax.config import AnnotateConfig, SamplingConfig, SourceConfig, TeachersConfig
from teacherlm_jax.data import formats, prompts
from teacherlm_jax.data.sample import KINDS, from_row
from teacherlm_jax.data.vocabulary import train_sentencepiece
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.run import Run


def _config(data, **teachers):
    return AnnotateConfig(
        root=str(data),
        source=SourceConfig("toys", "samples.jsonl"),
        teachers=TeachersConfig(**{kind: str(folder) for kind, folder in teachers.items()}),
        author="me",
        sampling=SamplingConfig(temperature=1.0, top_k=0, max_new_tokens=6),
        gates=("finished", "not_empty", "synthetic"),
        seed=5,
        slots=8,
        rows_per_shard=4,
    )


def _run(folder):
    folder.mkdir(exist_ok=True)
    return Run(folder, logging.getLogger("test"))


def _contents(folder):
    """Every file of texts and samples, by its path."""
    found = [path for part in ("texts", "samples") for path in (folder / part).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def _rows(folder, kind):
    paths = sorted((folder / "texts" / kind).glob("part-*.jsonl"))
    return [row for path in paths for _, row in files.read_jsonl(path)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data, teachers):
    """An undisturbed job: one teacher writes two kinds, another the third."""
    config = _config(data, cot=teachers[0], fundamental=teachers[1], mistake=teachers[0])
    folder = tmp_path_factory.mktemp("finished")
    return config, folder, job.annotate(config, _run(folder))


def test_every_sample_gets_every_kind_in_the_order_of_the_data(finished, samples):
    _, folder, _ = finished
    names = [f"part-0000{index}-of-00003.jsonl" for index in range(3)]
    for part in ("texts/cot", "texts/fundamental", "texts/mistake", "samples"):
        assert sorted(path.name for path in (folder / part).iterdir()) == names
    for kind in KINDS:
        assert [row["id"] for row in _rows(folder, kind)] == [sample.id for sample in samples]


def test_a_row_tells_all_that_it_came_from(finished, samples, teachers, vocabulary):
    config, folder, _ = finished
    digests = set()
    for kind in KINDS:
        for sample, row in zip(samples, _rows(folder, kind), strict=True):
            digests.add((kind, row.pop("model_digest")))
            text, new_tokens = row.pop("text"), row.pop("new_tokens")
            assert text == text.strip()
            ended = row["finish_reason"] == "eos"
            assert new_tokens < 6 if ended else new_tokens == 6
            prompt = plan.prompt_tokens(sample, kind, vocabulary, False)
            assert vocabulary.decode(prompt) == prompts.explanation_prompt(sample, kind)
            assert row == {
                "id": sample.id,
                "kind": kind,
                "author": "me",
                "source": sample.source,
                "teacher": str(teachers[1] if kind == "fundamental" else teachers[0]),
                "step": 7,
                "prompt_version": prompts.PROMPT_VERSION,
                "subject_prefix": False,
                "sampling": dataclasses.asdict(config.sampling),
                "dtype": "float32",
                "seed": 5,
                "prompt_tokens": len(prompt),
                "finish_reason": row["finish_reason"],
                "gates": {"finished": ended, "not_empty": bool(text), "synthetic": False},
            }
    by_kind = dict(digests)
    assert len(digests) == 3
    assert by_kind["cot"] == by_kind["mistake"] != by_kind["fundamental"]


def test_annotated_samples_are_samples_again_with_texts_and_provenance(finished, samples):
    _, folder, _ = finished
    texts = {kind: {row["id"]: row for row in _rows(folder, kind)} for kind in KINDS}
    paths = sorted((folder / "samples").iterdir())
    rows = [row for path in paths for _, row in files.read_jsonl(path)]
    for sample, row in zip(samples, rows, strict=True):
        again = from_row(row)
        for kind in KINDS:
            written = texts[kind][sample.id]
            assert again.explanations[kind] == {
                **sample.explanations[kind],
                "me": written["text"],
            }
            kept = {"gates", "author", "model_digest", "seed", "new_tokens", "finish_reason"}
            assert {key: row["annotations"][kind][key] for key in kept} == {
                key: written[key] for key in kept
            }
        unexplained = dataclasses.replace(again, explanations=sample.explanations)
        assert unexplained == sample


def test_preparing_can_leave_out_what_failed_a_gate(finished):
    _, folder, _ = finished
    refused = files.RefusedRows(folder / "unused.jsonl")
    source = SourceConfig("again", str(folder / "samples" / "*.jsonl"))
    for sample in formats.read_samples(source, "", refused, checked_only=True):
        assert all("me" not in texts for texts in sample.explanations.values())
    assert refused.total == 0


def test_the_result_counts_what_is_on_disk(finished):
    _, folder, result = finished
    assert (result["rows"], result["refused"], result["texts"]) == (11, 2, 33)
    assert result["tokens_per_second"] > 0
    for kind in KINDS:
        rows, found = _rows(folder, kind), result["kinds"][kind]
        assert found["count"] == 11
        assert found["mean_tokens"] == sum(row["new_tokens"] for row in rows) / 11
        assert found["gates"]["not_empty"] == sum(row["text"] != "" for row in rows)
        assert (found["gates"]["synthetic"], found["passed_all_gates"]) == (0, 0)
        assert sum(found["finish_reasons"].values()) == 11


def test_rows_that_cannot_be_read_are_kept_aside_with_line_and_reason(finished):
    _, folder, _ = finished
    refused = [row for _, row in files.read_jsonl(folder / "refused.jsonl")]
    assert [row["line"] for row in refused] == [12, 13]
    assert "not JSON" in refused[0]["reason"]
    assert refused[1]["reason"] == "no answer"


class _Interrupted(Engine):
    """An engine that is stopped after some texts, and remembers what it was asked."""

    asked: ClassVar[list[str]] = []
    signal = signal.SIGTERM
    stop_after = 0

    def generate(self, requests):
        def noted():
            for request in requests:
                self.asked.append(request.id)
                yield request

        for number, completion in enumerate(super().generate(noted())):
            if number == self.stop_after:
                os.kill(os.getpid(), self.signal)
            yield completion


def test_an_interrupted_job_repeats_nothing_and_ends_with_the_same_bytes(
    finished, tmp_path, monkeypatch
):
    config, folder, _ = finished
    monkeypatch.setattr(job, "Engine", _Interrupted)
    _Interrupted.asked, _Interrupted.stop_after = [], 13
    with pytest.raises(Interrupted, match="SIGTERM: stopped with 13 of 33 texts in") as caught:
        job.annotate(config, _run(tmp_path))
    assert caught.value.status == 143
    written = set()
    for path in (tmp_path / "texts").rglob("part-*"):
        kind = path.parent.name
        written |= {f"{kind}/{json.loads(line)['id']}" for line in path.read_text().splitlines()}
    assert len(written) == 13

    _Interrupted.asked, _Interrupted.stop_after = [], 1000
    result = job.annotate(config, _run(tmp_path))
    assert len(_Interrupted.asked) == 20
    assert written.isdisjoint(_Interrupted.asked)
    assert result["texts"] == 20
    assert _contents(tmp_path) == _contents(folder)


def test_a_finished_job_loads_no_teacher_again(finished, monkeypatch):
    config, folder, result = finished
    before = _contents(folder)
    monkeypatch.setattr(job, "Engine", None)
    again = job.annotate(config, _run(folder))
    assert (again["texts"], again["kinds"]) == (0, result["kinds"])
    assert _contents(folder) == before


def test_another_teacher_cannot_go_on_where_one_left_off(finished, teachers, tmp_path):
    config, folder, _ = finished
    source = folder / "texts" / "cot"
    target = tmp_path / "texts" / "cot"
    target.mkdir(parents=True)
    name = "part-00000-of-00003.jsonl"
    (target / name).write_bytes((source / name).read_bytes())
    other = dataclasses.replace(config, teachers=TeachersConfig(cot=str(teachers[1])))
    with pytest.raises(UserError, match="holds texts of .*teacher0.* at step 7"):
        job.annotate(other, _run(tmp_path))


def test_prompts_that_are_too_long_are_refused_with_the_reason(data, teachers, samples, tmp_path):
    config = dataclasses.replace(_config(data, cot=teachers[0]), gates=())
    whole = plan.make_plan(config, _run(tmp_path))
    lengths = sorted(len(task.tokens) for task in whole.tasks(("cot",)))
    assert whole.prompt_length == lengths[-1]
    limit = lengths[len(lengths) // 2]
    part = plan.make_plan(dataclasses.replace(config, prompt_length=limit), _run(tmp_path))
    assert len(part.samples) == sum(length <= limit for length in lengths) < len(samples)
    assert part.prompt_length == limit
    assert part.refused == 2 + len(samples) - len(part.samples)
    assert f"prompt_length={limit} tokens" in (tmp_path / "refused.jsonl").read_text()
    with pytest.raises(UserError, match="config.prompt_length: 3 tokens are fewer than any prompt"):
        plan.make_plan(dataclasses.replace(config, prompt_length=3), _run(tmp_path))


def test_unusable_settings_are_named(data, teachers, tmp_path):
    run = _run(tmp_path / "run")
    with pytest.raises(UserError, match="config.teachers: all empty"):
        job.annotate(_config(data), run)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        job.annotate(_config(data, cot="nowhere"), run)
    unknown = dataclasses.replace(_config(data, cot=teachers[0]), gates=("perfect",))
    with pytest.raises(UserError, match="unknown gate 'perfect'"):
        job.annotate(unknown, run)


def test_teachers_with_different_vocabularies_are_refused(data, teachers, make_teacher, tmp_path):
    zebras = train_sentencepiece(["zebra " * 9], tmp_path / "zebras", size=380, seed=0)
    other = make_teacher(tmp_path / "other", zebras, seed=0)
    config = _config(data, cot=teachers[0], mistake=other)
    with pytest.raises(UserError, match="must share theirs"):
        job.annotate(config, _run(tmp_path / "run"))
