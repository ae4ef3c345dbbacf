"""Advice in messages of `annotate`, followed up to the plan of the job."""

import dataclasses
import logging
import re

import pytest

from teacherlm_jax.annotation import explain, gates, job_plan, shards
from teacherlm_jax.annotation.explanation_prompts import prompt_digest
from teacherlm_jax.data import synthetic
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
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
    assert plan(dataclasses.replace(config, prompt_length=int(length))).encoded
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
    assert plan(with_tokens(config, int(tokens))).encoded
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
    assert plan(fitting).encoded


def test_a_teacher_with_more_positions_takes_prompts_that_exceed_those_of_another(
    plan, make_config, teacher, learned
):
    learned(8)
    config = with_tokens(make_config(cot=teacher), 2)
    assert refusal(plan, config).endswith(
        "choose another source, or a teacher with more learned positions"
    )
    learned(400)
    assert plan(config).encoded


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
    files.write_jsonl(tmp_path / "0" / "shards.jsonl", [{"ids": ["gone"]}])
    message = refusal(plan, config)
    assert "for example gone; restore their rows, or choose another config.output" in message
    assert plan(config).encoded


def test_texts_on_disk_belong_to_the_checkpoint_that_wrote_them(
    plan, make_config, vocabulary, tmp_path
):
    run = save_blank(tmp_path / "run", vocabulary, {7: 0.5, 8: 0.25})
    older = run / "checkpoints" / "7"

    def row(job):
        id, (prompt, *_) = next(iter(job.encoded.items()))
        digest = prompt_digest(prompt.sample, "cot", False)
        return {"id": id, "model_digest": job.teachers[0].digest, "prompt_digest": digest}

    written, now = plan(make_config(cot=older)), plan(make_config(cot=run))
    fault = now.fault("cot", row(written))
    assert fault.endswith("name the checkpoint that wrote it, or choose another config.output")
    assert plan(make_config(cot=older)).fault("cot", row(written)) == ""
    changed = {**row(now), "prompt_digest": "sha256:0"}
    assert now.fault("cot", changed).endswith(
        "restore the rows of the source, or choose another config.output"
    )
    assert now.fault("cot", row(now)) == ""


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


IDS = [("a", "b"), ("c",)]


def open_shards(folder):
    log = logging.getLogger("test")
    return shards.ShardFolder(folder, IDS, lambda row: "", log, lambda row: "text" in row)


@pytest.fixture
def written(tmp_path):
    """A folder of two complete shards."""
    folder = open_shards(tmp_path / "texts")
    for id in "abc":
        folder.add({"id": id, "text": id})
    folder.close()
    return tmp_path / "texts"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("part-00002.jsonl", {"id": "d", "text": "d"}),
        ("part-00001.jsonl", {"id": "x", "text": "x"}),
    ],
)
@pytest.mark.parametrize("way", ["restore", "another"])
def test_shards_are_opened_after_each_remedy(written, tmp_path, name, row, way):
    backup = {path.name: path.read_bytes() for path in written.iterdir()}
    files.write_jsonl(written / name, [row])
    message = refusal(open_shards, written)
    assert message.endswith("restore the run folder, or choose another config.output")
    if way == "another":
        assert not open_shards(tmp_path / "elsewhere").complete
        return
    (written / name).unlink()
    for file, content in backup.items():
        (written / file).write_bytes(content)
    assert open_shards(written).complete


def test_a_repeated_command_writes_a_shard_that_changed_again(written):
    folder = open_shards(written)
    files.write_jsonl(written / "part-00000.jsonl", [{"id": "a", "text": "a"}])
    message = refusal(folder.read, 0)
    assert message.endswith("changed since it was written; repeat the command")
    again = open_shards(written)
    assert again.has("a") and not again.has("b")
    again.add({"id": "b", "text": "b"})
    assert [row["id"] for row in again.read(0)] == ["a", "b"]


def test_a_list_of_shards_is_read_after_restoring_it(tmp_path):
    path = tmp_path / "shards.jsonl"
    shards.write_shard_list(path, IDS)
    backup = path.read_bytes()
    files.write_jsonl(path, [{"ids": ["a", "b"]}, {"ids": "c"}])
    message = refusal(shards.read_shard_list, path)
    assert message.endswith("restore the file, or choose another config.output")
    path.write_bytes(backup)
    assert shards.read_shard_list(path) == IDS
    assert shards.read_shard_list(tmp_path / "other" / "shards.jsonl") == []
