"""Teachers that are LoRA adapters of one base: loaded once, and each row has its own."""

import dataclasses

import pytest

from teacherlm_jax.annotation import teachers as described
from teacherlm_jax.annotation.job import job
from teacherlm_jax.config import DryRunOptions, LoraConfig
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.hf import any_model
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files
from tests.hf.adapted import write_run
from tests.make_run import make_run

LORA = LoraConfig(rank=4)


@pytest.fixture(scope="module")
def specialists(teachers, tmp_path_factory):
    """Three LoRA runs over the first teacher."""
    folder = tmp_path_factory.mktemp("specialists")
    return [write_run(folder / kind, teachers[0], LORA, seed) for seed, kind in enumerate(KINDS)]


def texts(run, kind):
    rows = [row for path in sorted((run.path / "texts" / kind).glob("*.jsonl"))
            for _, row in files.read_jsonl(path)]  # fmt: skip
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("weights", ["", "int8"])
def test_three_adapters_are_loaded_once_and_write_what_each_writes_alone(
    make_config, specialists, tmp_path, monkeypatch, weights
):
    def configured(**names):
        return dataclasses.replace(make_config(**names), weights=weights)

    names = dict(zip(KINDS, specialists, strict=True))
    alone = {kind: make_run(tmp_path / kind) for kind in KINDS}
    for kind, run in alone.items():
        job.annotate(configured(**{kind: names[kind]}), run)
    loaded, load = [], any_model.load

    def counted(path, *args, **options):
        loaded.append(path)
        return load(path, *args, **options)

    monkeypatch.setattr(any_model, "load", counted)
    together = make_run(tmp_path / "together")
    result = job.annotate(configured(**names), together)
    assert len(loaded) == 1
    for kind in KINDS:
        expected, actual = texts(alone[kind], kind), texts(together, kind)
        assert len(actual) == 11
        assert actual == expected
        description = any_model.describe(names[kind])
        assert result["kinds"][kind]["teacher"] == str(names[kind])
        assert {row["model_digest"] for row in actual.values()} == {description.digest}
    assert (
        len({tuple(row["text"] for row in texts(together, kind).values()) for kind in KINDS}) == 3
    )
    again = job.annotate(configured(**names), make_run(tmp_path / "together"))
    assert again["kinds"] == result["kinds"] and len(loaded) == 1


def test_two_kinds_of_one_adapter_are_written_beside_another_adapter(
    make_config, specialists, tmp_path
):
    config = make_config(cot=specialists[0], mistake=specialists[0], fundamental=specialists[1])
    (teacher,), _ = described.describe_teachers(config)
    assert teacher.kinds == ("cot", "mistake", "fundamental")
    assert [one.kinds for one in teacher.together] == [("cot", "mistake"), ("fundamental",)]
    together = make_run(tmp_path / "together")
    job.annotate(config, together)
    alone = make_run(tmp_path / "alone")
    job.annotate(make_config(cot=specialists[0], mistake=specialists[0]), alone)
    for kind in ("cot", "mistake"):
        assert texts(together, kind) == texts(alone, kind)


def test_adapters_of_other_bases_or_settings_are_loaded_one_after_the_other(
    make_config, specialists, teachers, tmp_path
):
    other = write_run(tmp_path / "other", teachers[1], LORA)
    wider = write_run(tmp_path / "wider", teachers[0], dataclasses.replace(LORA, rank=8))
    for second in (other, wider, teachers[0]):
        config = make_config(cot=specialists[0], mistake=second)
        found, _ = described.describe_teachers(config)
        assert [teacher.kinds for teacher in found] == [("cot",), ("mistake",)]
        assert not any(teacher.together for teacher in found)


def test_a_changed_adapter_is_an_input_that_changed(make_config, specialists, teachers, tmp_path):
    config = make_config(cot=specialists[0], mistake=specialists[1])
    assert described.inputs(config) == {
        "teachers.cot": any_model.describe(specialists[0]).digest,
        "teachers.mistake": any_model.describe(specialists[1]).digest,
    }


def test_a_dry_run_times_adapters_of_one_base_together(make_config, specialists, tmp_path):
    config = make_config(**dict(zip(KINDS, specialists, strict=True)))
    config.output = str(tmp_path / "run")
    text = verbs.dry_run("annotate", config, DryRunOptions(dry_run=True))
    assert " and ".join(map(str, specialists)) in text
