"""Remedies that messages about settings suggest, applied as overrides."""

import re

import pytest

from teacherlm_jax import config
from teacherlm_jax.cli import overrides
from teacherlm_jax.config import fields, variants
from teacherlm_jax.errors import UserError

SOURCE = config.SourceConfig("mine", "mine.jsonl")


def train(**settings):
    return config.TrainConfig("runs/x", "data/x", **settings)


def annotate(**settings):
    teachers = settings.pop("teachers", config.TeachersConfig(cot="runs/teacher"))
    return config.AnnotateConfig("runs/x", source=SOURCE, teachers=teachers, **settings)


def evaluate(**settings):
    benchmark = config.BenchmarkConfig("mine", "mine.jsonl", **settings)
    return config.EvaluateConfig("runs/x", model="m", benchmarks=(benchmark,))


def prepare(**settings):
    return config.PrepareConfig(
        *("runs/x", "", (SOURCE,)),
        mixtures=(config.MixtureConfig("texts"),),
        vocabulary=config.VocabularyConfig(settings.pop("vocabulary", "v")),
        **settings,
    )


def star(**settings):
    sources = {name: config.SourceConfig(name, "a.jsonl") for name in ("explained", "test")}
    questions = config.SourceConfig("questions", "b.jsonl", **settings)
    return config.StarConfig(
        "runs/x", questions=questions, vocabulary=config.VocabularyConfig("v"), **sources
    )


# A config, the words of its message that suggest the remedy, and the overrides that apply it. None:
# the overrides are read from the message.
CASES = [
    (config.TrainConfig(data="d"), "set it, as in", None),
    (prepare(vocabulary=""), "set it, as in", None),
    (annotate(teachers=config.TeachersConfig()), "name a run folder, as in", None),
    (config.ReportConfig(), "set it to report the runs", {"root": "runs", "output": "o"}),
    (config.ReportConfig("o"), "or set --data", {"data": "."}),
    (config.ReportConfig("o", "runs", data="."), "leave one of them out", {"data": ""}),
    (config.ReportConfig("o", "runs", data="."), "leave one of them out", {"root": ""}),
    (config.ReportConfig("", "runs"), "name the report's folder, as in", None),
    (config.ReportConfig("o"), "--samples to read", {"samples": "."}),
    (config.ReportConfig("o", samples=(".",), ratings=(".",)), "leave one", {"ratings": ""}),
    (config.ReportConfig("o", samples=(".", ".", ".")), "leave the others out", {"samples": ".,."}),
    (config.ReportConfig("o", data=".", blind=True), "leave it out", {"blind": "false"}),
    (config.ReportConfig("o", samples=(".",), select="x"), "leave it out", {"select": ""}),
    (config.ReportConfig("o", "runs", format="cot"), "leave it out", {"format": "sample"}),
    (prepare(beam_options=("--a=1",)), "set one, as in", {"runner": "DirectRunner"}),
    (
        evaluate(drop_placeholders=True),
        "leave it False",
        {"benchmarks[0].drop_placeholders": "False"},
    ),
    (evaluate(max_tokens=5), "leave it at 0", {"benchmarks[0].max_tokens": "0"}),
    (star(max_tokens=5), "leave it at 0", {"questions.max_tokens": "0"}),
    (
        evaluate(style="authors", score="texts"),
        "choose style='clean'",
        {"benchmarks[0].style": "clean"},
    ),
    (
        annotate(sampling=config.SamplingConfig(min_new_tokens=600)),
        "600 is more than max_new_tokens=512; lower it",
        {"sampling.min_new_tokens": "512"},
    ),
    (
        annotate(sampling=config.SamplingConfig(stop=("Q:", ""))),
        "an empty string, which would end every text; remove it",
        {"sampling.stop": "Q:,"},
    ),
    (annotate(author=" "), "as in 'teacher'", {"author": "teacher"}),
    (
        train(validation=config.ValidationConfig(metric="held_out/loss")),
        "set config.validation.data or",
        {"validation.data": "held_out", "validation.every": "5"},
    ),
    (
        train(validation=config.ValidationConfig(every=5, data="held_out", metric="loss")),
        "choose from: held_out/loss",
        {"validation.metric": "held_out/loss"},
    ),
    (train(validation=config.ValidationConfig(every=5)), "both", {"validation.every": "0"}),
    (
        train(validation=config.ValidationConfig(every=5)),
        "both",
        {"validation.data": "held_out"},
    ),
    (train(validation=config.ValidationConfig(rows=5)), "at 0", {"validation.rows": "0"}),
    (train(profile=config.ProfileConfig(memory=True)), "set config", {"profile.steps": "2:3"}),
    (train(mesh=config.MeshConfig(tensor=0)), "a positive number", {"mesh.tensor": "1"}),
    (
        train(model=config.ModelConfig("opt")),
        "set the longest text (e.g. 2048)",
        {"model.max_positions": "2048"},
    ),
    (
        train(model=config.ModelConfig(norm="after")),
        "leave it at 'before'",
        {"model.norm": "before"},
    ),
]


@pytest.mark.parametrize(
    "case", range(len(CASES)), ids=[f"{type(c[0]).__name__}-{n}" for n, c in enumerate(CASES)]
)
def test_the_override_that_a_message_suggests_makes_a_config_valid(case):
    settings, remedy, suggested = CASES[case]
    with pytest.raises(UserError) as raised:
        fields.check(settings)
    message = str(raised.value)
    assert remedy in message
    typed = dict(re.findall(r"--config\.(\S+?)=(\S+)", message)) if suggested is None else suggested
    assert typed, message
    for key, text in typed.items():
        settings = overrides.apply_text(settings, key, text)
    fields.check(settings)


def test_every_setting_that_a_message_lists_is_known():
    settings = {"root": "a", "seed": "b"}
    with pytest.raises(UserError) as raised:
        variants.parse("rot=c", **settings)
    for key in str(raised.value).partition("; known: ")[2].split(", "):
        assert variants.parse(f"{key}=c", **settings)[1] == settings | {key: "c"}
