"""Advice in messages of `annotate`, followed up to the plan of the job."""

import dataclasses
import logging
import re
import shutil

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.annotation import explain
from teacherlm_jax.annotation.explanation_prompts import prompt_digest
from teacherlm_jax.annotation.gates import gates
from teacherlm_jax.annotation.job import job_files, job_plan
from teacherlm_jax.annotation.shards import open_shard, shards
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.texts import Completion
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.blank_model import save_blank
from tests.make_run import make_run


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, vocabulary):
    return save_blank(tmp_path_factory.mktemp("teacher"), vocabulary, {7: 0.5})


@pytest.fixture
def plan(tmp_path):
    """Function that plans a job in a new run folder."""
    numbers = iter(range(9))
    return lambda config: job_plan.plan_job(config, make_run(tmp_path / str(next(numbers))))


@pytest.fixture
def learned(monkeypatch):
    """Function that gives teachers a number of learned positions."""
    describe = job_plan.describe_teachers

    def give(positions):
        def described(config):
            teachers, vocabulary = describe(config)
            return tuple(
                dataclasses.replace(t, max_positions=positions) for t in teachers
            ), vocabulary

        monkeypatch.setattr(job_plan, "describe_teachers", described)

    return give


def with_tokens(config, new_tokens):
    sampling = dataclasses.replace(config.sampling, max_new_tokens=new_tokens)
    return dataclasses.replace(config, sampling=sampling)


def test_a_prompt_fits_into_the_prompt_length_that_a_message_names(plan, make_config, teacher):
    config = dataclasses.replace(make_config(cot=teacher), prompt_length=3)
    length = re.search(
        r"raise config\.prompt_length to (\d+) or more, or choose another source$",
        refusal(plan, config),
    )[1]
    assert plan(dataclasses.replace(config, prompt_length=int(length))).total
    shorter = dataclasses.replace(config, prompt_length=int(length) - 1)
    assert f"raise config.prompt_length to {length} or more" in refusal(plan, shorter)


def test_a_prompt_fits_with_the_new_tokens_that_a_message_names(
    plan, make_config, teacher, learned
):
    learned(200)
    config = with_tokens(make_config(cot=teacher), 199)
    tokens = re.search(
        r"; lower config\.sampling\.max_new_tokens to (\d+) or less, or choose another source$",
        refusal(plan, config),
    )[1]
    assert plan(with_tokens(config, int(tokens))).total
    assert f"to {tokens} or less" in refusal(plan, with_tokens(config, int(tokens) + 1))


def test_both_limits_are_named_if_both_are_too_small(plan, make_config, teacher, learned):
    learned(200)
    config = dataclasses.replace(with_tokens(make_config(cot=teacher), 199), prompt_length=1)
    length, tokens = re.search(
        r"raise config\.prompt_length to (\d+) or more and lower "
        r"config\.sampling\.max_new_tokens to (\d+) or less, ",
        refusal(plan, config),
    ).groups()
    fitting = dataclasses.replace(with_tokens(config, int(tokens)), prompt_length=int(length))
    assert plan(fitting).total


def test_a_teacher_with_more_positions_takes_prompts_that_exceed_those_of_another(
    plan, make_config, teacher, learned
):
    learned(8)
    config = with_tokens(make_config(cot=teacher), 2)
    assert refusal(plan, config).endswith(
        "choose another source, or a teacher with more learned positions"
    )
    learned(400)
    assert plan(config).total


def test_teachers_with_other_vocabularies_are_planned_in_one_run_per_vocabulary(
    plan, make_config, teacher, tmp_path
):
    zebras = train_sentencepiece(["zebra " * 9], tmp_path / "zebras", size=380, seed=0)
    other = save_blank(tmp_path / "other", zebras, {7: 0.5})
    message = refusal(plan, make_config(cot=teacher, mistake=other))
    assert message.endswith("so annotate with one run per vocabulary")
    assert plan(make_config(cot=teacher)).kinds == ("cot",)
    assert plan(make_config(mistake=other)).kinds == ("mistake",)


def test_an_output_that_holds_another_job_is_replaced_by_another_one(
    plan, make_config, teacher, tmp_path
):
    config = make_config(cot=teacher)
    plan(config)
    (tmp_path / "1").mkdir()
    shutil.copy(tmp_path / "0" / "job.json", tmp_path / "1")
    (gone,) = synthetic.generate(1, seed=99)
    files.write_jsonl(tmp_path / "1" / "shards" / "part-00000.jsonl", [to_row(gone)])
    files.write_json(tmp_path / "1" / "texts" / "cot" / "part-00000.jsonl.partial", {})
    record = files.read_json(tmp_path / "1" / "job.json")
    record = {**record, "shards": [1], "source": {}}
    files.write_json(tmp_path / "1" / "job.json", record)
    message = refusal(plan, config)
    assert f"for example {gone.id}; restore their rows, or choose another config.output" in message
    assert plan(config).total


def test_texts_on_disk_belong_to_the_checkpoint_that_wrote_them(
    plan, make_config, vocabulary, tmp_path
):
    run = save_blank(tmp_path / "run", vocabulary, {7: 0.5, 8: 0.25})
    (older,) = plan(make_config(cot=run / "checkpoints" / "7")).teachers
    (newer,) = plan(make_config(cot=run)).teachers
    (sample,) = synthetic.generate(1, seed=3)

    def row(teacher):
        digest = prompt_digest(sample, "cot", False)
        return {"id": sample.id, "model_digest": teacher.digest, "prompt_digest": digest}

    fault = open_shard.fault(newer, sample, "cot", row(older), False)
    assert fault.endswith("name the checkpoint that wrote it, or choose another config.output")
    assert open_shard.fault(older, sample, "cot", row(older), False) == ""
    changed = {**row(newer), "prompt_digest": "sha256:0"}
    assert open_shard.fault(newer, sample, "cot", changed, False).endswith(
        "restore the rows of the source, or choose another config.output"
    )
    assert open_shard.fault(newer, sample, "cot", row(newer), False) == ""


def test_the_synthetic_gate_is_removed_or_judges_generated_samples():
    (generated,) = synthetic.generate(1, seed=0)
    other = dataclasses.replace(generated, source="sums")
    names = ("finished", "synthetic")
    message = refusal(gates.require_usable, names, [other])
    assert "expected a generated sample" in message
    removed = re.search(r"or remove '(\w+)' from config\.gates$", message)[1]
    gates.require_usable([name for name in names if name != removed], [other])
    gates.require_usable(names, [generated])


@pytest.mark.parametrize(("name", "known"), [("kinds", ("cot", "mistake")), ("gates", ("a", "b"))])
def test_every_value_that_a_message_lists_is_known(name, known):
    message = refusal(explain._require_known, name, ["why"], known)
    listed = re.search(r"expected some of (.*), got 'why'$", message)[1].split(", ")
    explain._require_known(name, listed, known)


@pytest.fixture
def planned(plan, make_config, teacher, tmp_path):
    """Function that plans a job in a folder with a file of explanations, if it has rows."""

    def again(name, rows):
        folder = tmp_path / "0"
        shutil.rmtree(folder / "texts", ignore_errors=True)
        if rows:
            files.write_jsonl(folder / "texts" / "cot" / name, rows)
        config = make_config(cot=teacher)
        return job_plan.plan_job(config, make_run(folder))

    plan(make_config(cot=teacher))
    return again


@pytest.mark.parametrize("name", ["part-00003.jsonl", "part-00000-of-00003.jsonl"])
def test_shards_of_another_job_are_refused_by_name_until_they_are_removed(planned, name):
    message = refusal(planned, name, [{"id": "d", "text": "d"}])
    assert f"{name}: not a shard of this job, which has 3 on record; restore the run" in message
    assert planned(name, []).record.shards == (4, 4, 3)


def test_rows_of_another_shard_are_refused_until_the_file_is_restored(tmp_path):
    def opened():
        path, log = StoragePath(tmp_path) / "part-00000.jsonl", logging.getLogger("test")
        return shards.ShardTexts(path, ("a", "b"), lambda row: "", log, tmp_path)

    files.write_jsonl(tmp_path / "part-00000.jsonl", [{"id": "a"}, {"id": "x"}])
    message = refusal(opened)
    assert message.endswith("restore the run folder, or choose another config.output")
    files.write_jsonl(tmp_path / "part-00000.jsonl", [{"id": "a"}, {"id": "b"}])
    assert opened().complete


@pytest.mark.parametrize("damage", ['{"format": 0}', "[]", '{"format": 1}'])
def test_a_plan_on_record_is_read_after_restoring_it(planned, tmp_path, damage):
    rows = [{"id": "a"}]
    backup = (tmp_path / "0" / "job.json").read_bytes()
    (tmp_path / "0" / "job.json").write_text(damage)
    message = refusal(planned, "part-00000.jsonl.partial", rows)
    assert message.endswith("restore the file, or choose another config.output")
    (tmp_path / "0" / "job.json").unlink()
    message = refusal(planned, "part-00000.jsonl.partial", rows)
    assert message.endswith("restore it, or choose another config.output")
    (tmp_path / "0" / "job.json").write_bytes(backup)
    assert planned("part-00000.jsonl.partial", rows).record.rows == 11


def test_a_damaged_line_of_a_plan_is_restored(planned, tmp_path):
    path = tmp_path / "0" / "shards" / "part-00000.jsonl"
    backup = path.read_bytes()
    path.write_bytes(b"{\n" + backup)
    folder = job_files.JobFolder(StoragePath(tmp_path / "0"))
    message = refusal(folder.read_shard, 0)
    assert message.endswith("restore the file, or choose another config.output")
    path.write_bytes(backup)
    assert len(folder.read_shard(0)) == 4


def test_samples_are_explained_once_their_ids_differ(samples, teacher, monkeypatch):
    def complete(model, requests, sampling, **settings):
        return [Completion(request.id, (), "eos") for request in requests]

    monkeypatch.setattr(explain, "complete", complete)
    loaded = any_model.load(teacher, sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1]))
    twice = [samples[0], samples[0]]
    message = refusal(explain.explain, loaded, twice, ("cot",))
    assert message.endswith("two have the same id; ids must differ")
    twice[1] = dataclasses.replace(twice[1], id="another")
    assert len(explain.explain(loaded, twice, ("cot",), gates=("finished",))) == 2


def test_data_from_before_an_annotation_are_annotated(
    samples, plan, make_config, teacher, tmp_path
):
    new = dataclasses.replace(samples[0], explanations={}, annotations={})
    old = dataclasses.replace(
        new,
        explanations={"cot": {"me": "Because."}},
        annotations={"cot": {"author": "me", "gates": {"finished": True}}},
    )
    config = dataclasses.replace(make_config(cot=teacher), root=str(tmp_path), gates=("finished",))
    files.write_jsonl(tmp_path / "samples.jsonl", [to_row(old)])
    assert refusal(plan, config).endswith("; annotate the data from before that annotation")
    files.write_jsonl(tmp_path / "samples.jsonl", [to_row(new)])
    assert plan(config).total == 1
