"""Complete jobs with a real engine: their files, with and without interruptions."""

import dataclasses
import json
import os
import shutil
import signal
from collections import Counter
from typing import ClassVar

import pytest

from teacherlm_jax.annotation.explanation_prompts import encode_prompts, prompt_digest
from teacherlm_jax.annotation.job import job, job_plan
from teacherlm_jax.config import SamplingConfig, TeachersConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import KINDS, from_row, to_row
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.hf import any_model
from teacherlm_jax.models.forward_flops import forward_flops
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.make_run import make_run


def _contents(folder):
    """Return the bytes of every file of texts and samples, by path."""
    paths = [path for part in ("texts", "samples") for path in (folder / part).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _rows(folder, kind):
    paths = sorted((folder / "texts" / kind).glob("part-*.jsonl"))
    return [row for path in paths for _, row in files.read_jsonl(path)]


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory, teachers):
    """A job without interruptions: one teacher writes two kinds, another the third."""
    config = make_config(cot=teachers[0], fundamental=teachers[1], mistake=teachers[0])
    folder = tmp_path_factory.mktemp("finished")
    return config, folder, job.annotate(config, make_run(folder))


def test_every_sample_gets_every_kind_in_the_order_of_the_data(finished, samples):
    _, folder, _ = finished
    names = [f"part-0000{index}.jsonl" for index in range(3)]
    for part in ("texts/cot", "texts/fundamental", "texts/mistake", "samples"):
        assert sorted(path.name for path in (folder / part).iterdir()) == names
    for kind in KINDS:
        assert [row["id"] for row in _rows(folder, kind)] == [sample.id for sample in samples]


def test_a_row_has_its_full_provenance(finished, samples, teachers, vocabulary):
    config, folder, _ = finished
    digests = set()
    for kind in KINDS:
        for sample, row in zip(samples, _rows(folder, kind), strict=True):
            digests.add((kind, row.pop("model_digest")))
            text, new_tokens = row.pop("text"), row.pop("new_tokens")
            assert text == text.strip()
            ended = row["finish_reason"] == "eos"
            assert new_tokens < 6 if ended else new_tokens == 6
            ((prompt,),) = encode_prompts([sample], [kind], vocabulary, False)
            pieces = prompts.explanation_pieces(sample, kind)
            assert vocabulary.decode(prompt.tokens) == "".join(piece.text for piece in pieces)
            assert row == {
                "id": sample.id,
                "kind": kind,
                "author": "me",
                "source": sample.source,
                "teacher": str(teachers[1] if kind == "fundamental" else teachers[0]),
                "step": 7,
                "prompt_version": prompts.PROMPT_VERSION,
                "prompt_digest": prompt_digest(sample, kind, False),
                "subject_prefix": False,
                "sampling": json.loads(json.dumps(dataclasses.asdict(config.sampling))),
                "dtype": "float32",
                "weights": "float32",
                "seed": 5,
                "prompt_tokens": len(prompt.tokens),
                "finish_reason": row["finish_reason"],
                "gates": {"finished": ended, "not_empty": bool(text), "synthetic": False},
            }
    by_kind = dict(digests)
    assert len(digests) == 3
    assert by_kind["cot"] == by_kind["mistake"] != by_kind["fundamental"]


def test_annotated_samples_hold_the_explanations_and_their_provenance(finished, samples):
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
        unexplained = dataclasses.replace(again, explanations=sample.explanations, annotations={})
        assert unexplained == sample


def test_the_result_counts_what_is_on_disk(finished):
    _, folder, result = finished
    assert (result["rows"], result["refused"], result["texts"]) == (11, 2, 33)
    assert result["tokens_per_second"] > 0
    for kind in KINDS:
        rows, actual = _rows(folder, kind), result["kinds"][kind]
        assert actual["count"] == 11
        assert actual["mean_tokens"] == sum(row["new_tokens"] for row in rows) / 11
        assert actual["gates"]["not_empty"] == sum(row["text"] != "" for row in rows)
        assert (actual["gates"]["synthetic"], actual["passed_all_gates"]) == (0, 0)
        assert sum(actual["finish_reasons"].values()) == 11


def test_the_costs_are_texts_tokens_flops_and_the_time_of_the_devices(finished):
    _, folder, result = finished
    rows = [row for kind in KINDS for row in _rows(folder, kind)]
    costs = result["costs"]
    read, new = (sum(row[key] for row in rows) for key in ("prompt_tokens", "new_tokens"))
    assert (costs["texts"], costs["prompt_tokens"], costs["new_tokens"]) == (33, read, new)
    shape = any_model.describe(rows[0]["teacher"]).config
    lengths = [row["prompt_tokens"] + row["new_tokens"] for row in rows]
    pairs = sum(length * (length + 1) / 2 for length in lengths)
    # Texts of a kind count with their mean length, which changes the pairs a little.
    assert costs["flops"] == pytest.approx(
        forward_flops(shape, read + new, pairs, new + len(rows)), rel=0.01
    )
    assert costs["money"] is None
    assert (costs["chips"], costs["devices"]) == (8, ["cpu"])
    assert costs["chip_seconds"] == pytest.approx(8 * costs["seconds"])
    assert costs["seconds"] >= result["seconds"]


def test_rows_that_cannot_be_read_go_to_a_side_file_with_line_and_reason(finished, data):
    _, folder, _ = finished
    refused = [row for _, row in files.read_jsonl(folder / "refused.jsonl")]
    assert [row["line"] for row in refused] == [12, 13]
    assert {row["file"] for row in refused} == {str(data / "samples.jsonl")}
    assert "not JSON" in refused[0]["reason"]
    assert refused[1]["reason"] == "no answer"


class _Interrupted(Engine):
    """An engine that sends a signal after some texts, and records its requests."""

    requested: ClassVar[list[str]] = []
    signal = signal.SIGTERM
    stop_after = 0

    def generate(self, requests):
        def noted():
            for request in requests:
                self.requested.append(request.id)
                yield request

        for number, completion in enumerate(super().generate(noted())):
            if number == self.stop_after:
                os.kill(os.getpid(), self.signal)
            yield completion


def test_an_interrupted_job_repeats_nothing_and_ends_with_the_same_bytes(
    finished, tmp_path, monkeypatch
):
    config, folder, _ = finished
    monkeypatch.setattr(texts, "Engine", _Interrupted)
    _Interrupted.requested, _Interrupted.stop_after = [], 13
    with pytest.raises(
        Interrupted, match="SIGTERM: stopped with 13 of 33 explanations in"
    ) as caught:
        job.annotate(config, make_run(tmp_path))
    assert caught.value.status == 143
    written = set()
    for path in (tmp_path / "texts").rglob("part-*"):
        kind = path.parent.name
        written |= {f"{kind}/{json.loads(line)['id']}" for line in path.read_text().splitlines()}
    assert len(written) == 13
    (before,) = (files.read_json(path) for path in (tmp_path / "costs").iterdir())
    assert before["seconds"] > 0

    _Interrupted.requested, _Interrupted.stop_after = [], 1000
    result = job.annotate(config, make_run(tmp_path))
    assert len(_Interrupted.requested) == 20
    assert written.isdisjoint(_Interrupted.requested)
    assert result["texts"] == 20
    assert result["costs"]["texts"] == 33
    assert result["costs"]["seconds"] >= before["seconds"] + result["seconds"]
    assert _contents(tmp_path) == _contents(folder)


def test_a_signal_while_a_library_reads_the_teacher_is_not_taken_for_a_damaged_one(
    finished, tmp_path, monkeypatch
):
    def load(*_, **settings):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise UserError("incomplete checkpoint; train again") from None

    monkeypatch.setattr(any_model, "load", load)
    with pytest.raises(Interrupted, match="SIGTERM: stopped with 0 of 33 explanations"):
        job.annotate(finished[0], make_run(tmp_path))
    assert not (tmp_path / "costs").exists()  # a folder with work could not get other settings


def test_a_finished_job_loads_no_teacher_again(finished, monkeypatch):
    config, folder, result = finished
    before = _contents(folder)
    monkeypatch.setattr(any_model, "load", None)
    assert job.annotate(config, make_run(folder)) == result
    assert _contents(folder) == before


def _copied(folder, to):
    shutil.copytree(folder / "texts" / "cot", to / "texts" / "cot")
    shutil.copytree(folder / "shards", to / "shards")
    record = files.read_json(folder / "job.json")
    record["settings"]["kinds"] = ["cot"]
    record["lengths"] = {"cot": record["lengths"]["cot"]}
    files.write_json(to / "job.json", record)
    return sorted((to / "texts" / "cot").iterdir())


def test_another_teacher_cannot_continue_a_job(finished, teachers, tmp_path):
    config, folder, _ = finished
    other = dataclasses.replace(config, teachers=TeachersConfig(cot=str(teachers[1])))
    (tmp_path / "a").mkdir()
    first, *_ = _copied(folder, tmp_path / "a")
    with pytest.raises(UserError, match=f"{first.name}:1: .* written by .*teacher0.* step 7"):
        job.annotate(other, make_run(tmp_path / "a"))
    own = dataclasses.replace(config, teachers=TeachersConfig(cot=str(teachers[0])))
    (tmp_path / "b").mkdir()
    _, second, _ = _copied(folder, tmp_path / "b")
    rows = [row for _, row in files.read_jsonl(second)]
    files.write_jsonl(second, [*rows[:2], rows[2] | {"model_digest": "other"}, *rows[3:]])
    with pytest.raises(UserError, match=rf"{second.name}:3: .* \(other\), but .*teacher0"):
        job.annotate(own, make_run(tmp_path / "b"))


def test_explanations_of_questions_that_changed_are_refused(finished, teachers, samples, tmp_path):
    config, folder, _ = finished
    _copied(folder, tmp_path)
    changed = dataclasses.replace(samples[5], question=samples[5].question + "!")
    rows = [to_row(sample) for sample in [*samples[:5], changed, *samples[6:]]]
    files.write_jsonl(tmp_path / "samples.jsonl", rows)
    config = dataclasses.replace(
        config, root=str(tmp_path), teachers=TeachersConfig(cot=str(teachers[0])), gates=()
    )
    place = rf"samples.jsonl:6: the sample '{changed.id}' has changed since this job was planned"
    with pytest.raises(UserError, match=f"{place}; .*choose another config.output"):
        job.annotate(config, make_run(tmp_path))


def test_rows_of_the_table_beyond_the_vocabulary_are_never_written(
    make_config, vocabulary, make_teacher, tmp_path
):
    teacher = make_teacher(tmp_path / "padded", vocabulary, 0, vocab_size=2 * vocabulary.size)
    config = dataclasses.replace(
        make_config(cot=teacher),
        sampling=SamplingConfig(temperature=100.0, top_k=0, top_p=1.0, max_new_tokens=6),
        gates=(),
    )
    result = job.annotate(config, make_run(tmp_path / "run"))
    assert result["kinds"]["cot"]["mean_tokens"] > 3
    assert result["kinds"]["cot"]["passed_all_gates"] is None


def test_prompts_that_are_too_long_are_refused_by_id(
    make_config, data, teachers, samples, tmp_path
):
    config = make_config(cot=teachers[0])
    all_prompts = job_plan.plan_job(config, make_run(tmp_path)).record
    lengths = sorted(Counter(all_prompts.lengths["cot"]).elements())
    limit = lengths[len(lengths) // 2]
    shorter = dataclasses.replace(config, prompt_length=limit)
    part = job_plan.plan_job(shorter, make_run(tmp_path)).record
    assert part.rows == sum(length <= limit for length in lengths) < len(samples)
    assert part.refused == 2 + len(samples) - part.rows
    refused = [row for _, row in files.read_jsonl(tmp_path / "refused.jsonl")]
    too_long = [
        row for row in refused if f"more than config.prompt_length={limit}" in row["reason"]
    ]
    assert len(too_long) == len(samples) - part.rows
    for row in too_long:
        assert samples[row["line"] - 1].id == row["row"]["id"]
        assert row["reason"].startswith(f"the prompt of {row['row']['id']!r} has ")
        assert row["file"] == str(data / "samples.jsonl")
    with pytest.raises(
        UserError, match=r"all prompts have more tokens than config\.prompt_length=3;"
    ):
        job_plan.plan_job(dataclasses.replace(config, prompt_length=3), make_run(tmp_path))


def test_unusable_settings_are_named(make_config, teachers, tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(UserError, match="config.teachers: all empty"):
        job.annotate(make_config(), run)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        job.annotate(make_config(cot="nowhere"), run)
    unknown = dataclasses.replace(make_config(cot=teachers[0]), gates=("perfect",))
    with pytest.raises(UserError, match="config.gates: expected one of .*, got 'perfect'"):
        job.annotate(unknown, run)


def test_teachers_with_different_vocabularies_are_refused(
    make_config, teachers, make_teacher, tmp_path
):
    zebras = train_sentencepiece(["zebra " * 9], tmp_path / "zebras", size=380, seed=0)
    other = make_teacher(tmp_path / "other", zebras, seed=0)
    config = make_config(cot=teachers[0], mistake=other)
    with pytest.raises(UserError, match="must share a vocabulary"):
        job.annotate(config, make_run(tmp_path / "run"))
