"""Dry runs: what they say about new and continued jobs, and that they write nothing."""

import dataclasses
import os
import re
from types import SimpleNamespace

import pytest

from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.config import DryRunOptions, TeachersConfig
from teacherlm_jax.data.sample import KINDS, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.slot_numbers import cache_entries
from teacherlm_jax.hf import any_model
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.planning import dry_run, dry_run_text, slice_estimate
from teacherlm_jax.planning.slice_estimate import SliceEstimate
from teacherlm_jax.storage import files


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files, and time for the whole job as the sample."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(dry_run, "_SECONDS", 300.0)
    return folder


def _tree(*folders):
    """Return the time of change and the bytes of everything in folders."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for folder in folders
        for path in [folder, *folder.rglob("*")]
    }


def _shown(config, topology=""):
    return verbs.dry_run("annotate", config, DryRunOptions(dry_run=True, topology=topology))


def _value(text, name):
    """Return the value of a line such as "  rows      602: 600 usable"."""
    return re.search(rf"^  {name}  +(.+)$", text, re.MULTILINE)[1]


@pytest.fixture
def config(make_config, teachers, tmp_path):
    teacher = teachers[0]
    return dataclasses.replace(
        make_config(cot=teacher, fundamental=teacher, mistake=teacher), output=str(tmp_path / "run")
    )


def test_a_dry_run_writes_nothing_and_describes_the_run(
    config, data, teachers, samples, vocabulary, tmp_path, temporary
):
    before = _tree(tmp_path, data, teachers[0])
    text = _shown(config)
    assert _tree(tmp_path, data, teachers[0]) == before
    assert not os.listdir(temporary)
    assert _value(text, "rows") == "13: 11 usable, 2 refused"
    source = data / "samples.jsonl"
    assert re.search(rf"    1 refused: not JSON: .* \({source}:12\)\n", text)
    assert f"    1 refused: no answer ({source}:13)\n" in text
    assert _value(text, "explanations") == "33: 0 on disk, 33 left"
    encoded = list(encode_prompts(samples, KINDS, vocabulary, False))
    lengths = sorted(len(prompt.tokens) for own in encoded for prompt in own)
    shares = f"p1 {lengths[0]}, p50 {lengths[16]}, p90 {lengths[29]}, p99 {lengths[32]}"
    assert _value(text, "tokens of a prompt") == f"{shares}, longest {lengths[32]}"
    assert _value(text, "prompt tokens left") == f"{sum(lengths):,}"
    assert _value(text, "new tokens left") == "at most 198, 6 each"
    for number, prompt in enumerate(encoded[0], start=1):
        title = f"prompt {number}: {prompt.id}, {len(prompt.tokens)} tokens"
        assert f"\n\n{title}\n{vocabulary.spelled(prompt.tokens)}\n\n" in text
    assert f"prompts of up to {lengths[32]} tokens: 8 slots; it compiles" in text
    assert f"decode with 8 slots and {cache_entries(lengths[32], 6)} entries" in text
    assert re.fullmatch(
        r"[\d.]+ MiB of .*: parameters [\d.]+ MiB, KV cache [\d.]+ MiB, temporaries [\d.]+ MiB",
        _value(text, "memory per device"),
    )
    timed = _value(text, "timed")
    tokens = int(re.match(r"(\d+) new tokens of 33 texts in .* s; 33 texts finished", timed)[1])
    assert f"if texts have {tokens / 33:.0f} tokens" in text
    assert re.search(r"; at most \d+ s, if no text ends before max_new_tokens$", text)


def test_a_dry_run_of_a_run_that_has_begun_counts_what_is_left(
    config, data, samples, tmp_path, monkeypatch
):
    settings = dataclasses.replace(config, gates=())
    verbs.run("annotate", settings)
    run = tmp_path / "run"
    before = _tree(tmp_path, data)
    with monkeypatch.context() as patch:
        patch.setattr(any_model, "load", None)  # no teacher is needed
        text = _shown(settings)
    assert _value(text, "explanations") == "33: 33 on disk, 0 left"
    assert text.endswith("nothing is left to generate")
    assert "no answer (" in text
    assert _tree(tmp_path, data) == before

    (run / "result.json").unlink()
    for path in run.glob("samples/part-00001.jsonl"):
        path.unlink()
    rows = [row for _, row in files.read_jsonl(run / "texts/cot/part-00001.jsonl")]
    (run / "texts/cot/part-00001.jsonl").unlink()
    files.write_jsonl(run / "texts/cot/part-00001.jsonl.partial", rows[:3])
    before = _tree(tmp_path, data)
    text = _shown(settings)
    assert _tree(tmp_path, data) == before
    assert _value(text, "rows") == "13: 11 usable, 2 refused"
    assert _value(text, "explanations") == "33: 32 on disk, 1 left"
    assert f"\nprompt 1: cot/{samples[7].id}, " in text
    assert "\nprompt 2" not in text
    assert re.match(r"\d new tokens? of 1 text", _value(text, "timed"))


def test_bounds_count_every_attempt_and_estimates_say_that_they_count_one(config):
    settings = dataclasses.replace(config, gates=("finished",), attempts=3)
    text = _shown(settings)
    assert _value(text, "new tokens left") == "at most 594, 6 each in 3 attempts"
    assert _value(text, "prompt tokens left").endswith(" for one attempt each")
    figures = SimpleNamespace(machine="1 x cpu", hours=0.1, most_hours=0.5, tokens=9.0)
    speed = {"hours": 1.25, "chip_hours": 20.0, "tokens_per_text": 95.3}
    here, there = dry_run_text._hours(settings, [figures], SliceEstimate("v5e:4x4", speed))
    assert here[1] == (
        "about 6 min for one attempt each, if texts have 9 tokens, as in the sample; "
        "at most 1.5 hours in 3 attempts, if no text ends before max_new_tokens"
    )
    assert "20 chip-hours for one attempt each, if texts have 95 tokens" in there[1]
    (here,) = dry_run_text._hours(config, [figures], None)
    assert here[1].endswith("; at most 30 min, if no text ends before max_new_tokens")


def test_new_rows_of_a_source_are_left_and_a_changed_row_is_refused(config, samples, tmp_path):
    grown = dataclasses.replace(config, root=str(tmp_path), teachers=TeachersConfig(), gates=())
    grown.teachers.cot = config.teachers.cot
    source = tmp_path / "samples.jsonl"
    files.write_jsonl(source, [to_row(sample) for sample in samples[:5]])
    verbs.run("annotate", grown)
    files.write_jsonl(source, [to_row(sample) for sample in samples[:7]])
    before = _tree(tmp_path)
    text = _shown(grown)
    assert _tree(tmp_path) == before
    assert _value(text, "explanations") == "7: 5 on disk, 2 left"
    assert f"prompt 1: cot/{samples[5].id}, " in text
    files.write_jsonl(source, [to_row(sample) for sample in reversed(samples[3:7])])
    assert _errors(grown) == 2 * [_errors(grown)[0]]
    assert "lacks 3 of this job's samples" in _errors(grown)[0]


def _errors(config):
    """Return the messages of a dry run and of a run."""
    messages = []
    for function, *options in ((verbs.dry_run, DryRunOptions(dry_run=True)), (verbs.run,)):
        with pytest.raises(UserError) as caught:
            function("annotate", config, *options)
        messages.append(str(caught.value))
    return messages


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers": TeachersConfig(cot="nowhere")}, "nowhere: no such folder"),
        ({"prompt_length": 3}, "all prompts have more tokens than config.prompt_length=3"),
        ({"gates": ("perfect",)}, "config.gates"),
        ({"author": "program"}, "already has a cot by 'program'"),
        ({"output": ""}, "config.output: empty"),
        ({"output": "s3://a/b"}, "expected a folder on this machine or in a bucket"),
        ({"slots": 0}, "config.slots"),
    ],
)
def test_a_bad_config_gives_the_error_of_the_run(config, tmp_path, changes, message):
    changed, before = dataclasses.replace(config, **changes), _tree(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        _shown(changed)
    assert _tree(tmp_path) == before
    shown, real = _errors(changed)
    assert shown == real


def test_the_settings_of_a_run_that_has_begun_cannot_be_changed_by_a_dry_run(config, tmp_path):
    (tmp_path / "run/texts/cot").mkdir(parents=True)
    (tmp_path / "run/texts/cot/part-00000.jsonl.partial").touch()
    started = {"verb": "annotate", "config": dataclasses.asdict(config)}
    files.write_json(tmp_path / "run/config.json", started)
    shown, real = _errors(dataclasses.replace(config, seed=6))
    assert "config.seed=5, but now config.seed=6" in shown
    assert shown == real


def test_a_slice_is_estimated_for_what_is_left(config, monkeypatch):
    asked = []

    def estimate(*words):
        asked.append(words)
        speed = {"hours": 1.25, "chip_hours": 20.0, "tokens_per_text": 95.3}
        return SliceEstimate(words[1], speed)

    monkeypatch.setattr(slice_estimate, "estimate", estimate)
    text = _shown(config, "v5e:4x4")
    ((settings, topology, _, rows),) = asked
    assert (settings, topology, rows) == (config, "v5e:4x4", 11)
    expected = "75 min at best, 20 chip-hours, if texts have 95 tokens, as in the paper"
    assert _value(text, "on v5e:4x4") == expected
    monkeypatch.setattr(slice_estimate, "estimate", lambda *_: SliceEstimate("v5e:1x1", None, "no"))
    assert _value(_shown(config, "v5e:1x1"), "on v5e:1x1") == "no"
    with pytest.raises(UserError, match="--topology=v9:1x1: unknown chip"):
        _shown(config, "v9:1x1")
