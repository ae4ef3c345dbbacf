"""The adapter for lm-evaluation-harness, compared with the harness's backend for transformers."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib

import jax
import pytest

import teacherlm_jax
from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.generation_kwargs import sampling_of
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files

lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is missing: requirements-lm_eval.txt")
Instance = importlib.import_module("lm_eval.api.instance").Instance
TaskManager = importlib.import_module("lm_eval.tasks").TaskManager
TeacherLM = importlib.import_module("teacherlm_jax.evaluation.lm_eval").TeacherLM

TOLERANCE = 1e-4  # nats, in float32
ROWS = 100
MMLU = pathlib.Path(lm_eval.__file__).parent / "tasks/mmlu/default/_default_template_yaml"
SPECIAL = [0, 1, 3]  # ids of BLOOM's tokenizer that no text contains; 2 ends it

TASK = """
include: {mmlu}
task: {name}
dataset_path: json
dataset_name: null
dataset_kwargs:
  data_files: {{test: {rows}}}
  cache_dir: {cache}
fewshot_split: null
num_fewshot: 0
metric_list:
  - metric: acc
  - metric: acc_norm
"""
TEXTS = """
doc_to_text: "{{question}}\\nAnswer:"
doc_to_choice: choices
"""


@pytest.fixture(scope="module")
def folder(hf_folder):
    return hf_folder("bloom")


@pytest.fixture(scope="module")
def tasks(mmlu_rows, tmp_path_factory):
    """Tasks of the harness with real questions: letters as in its own MMLU, and option texts.

    The questions have similar lengths, so that few programs are compiled.
    """
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {**row, "answer": "ABCD".index(row["answer"])}
        for row in mmlu_rows
        if len(row["choices"]) == 4
        if len(row["question"]) < 250 and max(map(len, row["choices"])) < 60
    ]
    files.write_jsonl(folder / "rows.jsonl", rows[:ROWS])
    same = {"mmlu": MMLU, "rows": folder / "rows.jsonl", "cache": folder / "cache"}
    for name, more in (("letters", ""), ("texts", TEXTS)):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, **same) + more)
    return TaskManager(include_path=str(folder), include_defaults=False)


@pytest.fixture(scope="module")
def theirs(folder, torch):
    """Backend of the harness for transformers; it generates no special tokens but the last one."""
    from lm_eval.models.huggingface import HFLM

    backend = HFLM(str(folder), device="cpu", dtype="float32", batch_size=8, max_length=1024)
    backend.model.generation_config.suppress_tokens = SPECIAL
    return backend


@pytest.fixture(scope="module")
def ours(folder):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    loaded = any_model.load(folder, mesh, dtype="float32")
    return TeacherLM(loaded, max_length=1024, batch_tokens=4096, slots=8)


def requests(kind, arguments):
    return [Instance(kind, {}, own, number) for number, own in enumerate(arguments)]


def evaluated(model, tasks):
    return lm_eval.simple_evaluate(
        model=model, tasks=["letters", "texts"], task_manager=tasks, bootstrap_iters=0
    )


@pytest.fixture(scope="module")
def both(ours, theirs, tasks):
    return evaluated(ours, tasks), evaluated(theirs, tasks)


def test_the_command_line_of_the_harness_runs_a_task(folder, tasks, tmp_path):
    module, output = "teacherlm_jax.evaluation.lm_eval", tmp_path / "results"
    words = ["run", "--model", "teacherlm", "--model_args", f"model={folder},max_length=1024"]
    words += ["--tasks", "letters", "--include_path", str(tasks.include_path), "--limit", "8"]
    completed = subprocess.run(
        [sys.executable, "-m", module, *words, "--output_path", str(output)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    (written,) = output.rglob("results_*.json")
    assert 0 <= files.read_json(written)["results"]["letters"]["acc,none"] <= 1


@pytest.mark.parametrize("name", ["letters", "texts"])
def test_the_accuracy_of_a_task_is_that_of_the_backend_for_transformers(both, name):
    actual, expected = (results["results"][name] for results in both)
    for metric in ("acc,none", "acc_norm,none"):
        assert actual[metric] == expected[metric]
    assert 0 < actual["acc,none"] < 1
    assert actual["sample_len"] == ROWS


@pytest.mark.parametrize("name", ["letters", "texts"])
def test_log_probabilities_of_every_sample_are_those_of_the_backend_for_transformers(both, name):
    for actual, expected in zip(*(results["samples"][name] for results in both), strict=True):
        assert actual["doc_id"] == expected["doc_id"]
        assert actual["acc"] == expected["acc"] and actual["acc_norm"] == expected["acc_norm"]
        for one, other in zip(actual["filtered_resps"], expected["filtered_resps"], strict=True):
            assert float(one[0]) == pytest.approx(float(other[0]), abs=TOLERANCE)
            assert one[1] == other[1]


def test_results_record_the_model(both, ours):
    config = both[0]["config"]
    assert config["model_sha"] == ours.loaded.digest
    assert config["model_dtype"] == "float32"
    assert json.dumps(config)


def test_continuations_of_any_context_are_scored_like_by_the_backend(ours, theirs):
    text = "The cell is the basic unit of life. " * 40
    pairs = [
        ("", "Cells divide."),
        ("Q: What is it? ", "A cell"),
        ("Q: What is it?", " a cell"),
        ("Q: What is it?", " a nucleus of a cell"),
        (text, " It divides."),  # longer than max_length
        (text, " " + text[:60]),
        ("A", text[:200]),  # longer than its context
    ]
    for model in (ours, theirs):
        assert model.max_length == 1024
    window = {"max_length": 96}
    actual = limited(ours, **window).loglikelihood(requests("loglikelihood", pairs))
    expected = limited(theirs, **window).loglikelihood(requests("loglikelihood", pairs))
    for one, other in zip(actual, expected, strict=True):
        assert one[0] == pytest.approx(other[0], abs=TOLERANCE)
        assert one[1] == other[1]


def test_a_context_of_white_space_belongs_to_the_continuation(ours):
    pairs = [("  ", "x"), ("", "  x")]
    blank, empty = ours.loglikelihood(requests("loglikelihood", pairs))
    assert blank == pytest.approx(empty, abs=TOLERANCE)


def limited(model, max_length):
    """Return the same model, which reads fewer tokens."""
    other = object.__new__(type(model))
    other.__dict__.update(model.__dict__)
    other.__dict__["_max_length" if hasattr(model, "_max_length") else "max_length"] = max_length
    return other


def test_long_texts_are_scored_in_windows_like_by_the_backend(ours, theirs, mmlu_rows):
    texts = [(row["question"],) for row in mmlu_rows[:20]]
    texts.append((" ".join(row["question"] for row in mmlu_rows[:9]),))
    of_both = [
        limited(model, 64).loglikelihood_rolling(requests("loglikelihood_rolling", texts))
        for model in (ours, theirs)
    ]
    assert of_both[0] == pytest.approx(of_both[1], abs=TOLERANCE * 9)
    assert ours.loglikelihood_rolling(requests("loglikelihood_rolling", [("",)])) == [0.0]


def test_greedy_texts_are_those_of_the_backend(ours, theirs, mmlu_rows):
    contexts = [row["question"] for row in mmlu_rows[:12]]
    kinds = [{"until": ["\n"], "max_gen_toks": 12}, {"until": ["e", "zz"], "do_sample": False}]
    kinds[1]["max_gen_toks"] = 20
    arguments = [(context, kind) for kind in kinds for context in contexts]
    of_both = [
        model.generate_until(requests("generate_until", arguments)) for model in (ours, theirs)
    ]
    assert of_both[0] == of_both[1]
    assert len(set(of_both[0])) > 6, "few different texts prove little"
    assert not any("e" in text for text in of_both[0][len(contexts) :])


def test_sampled_texts_differ_by_repeat_and_seed_and_not_by_company(ours):
    sampled = {"do_sample": True, "temperature": 1.0, "max_gen_toks": 8, "until": []}
    twice = [("Q: a", sampled), ("Q: a", sampled), ("Q: b", sampled)]
    first, repeat, _ = ours.generate_until(requests("generate_until", twice))
    assert first != repeat
    assert ours.generate_until(requests("generate_until", twice[:1])) == [first]
    other = limited(ours, 1024)
    other._seed = 1
    assert other.generate_until(requests("generate_until", twice[:1])) != [first]


def test_long_contexts_of_texts_are_truncated_on_the_left(ours):
    settings = {"until": [], "max_gen_toks": 4}
    short, long = "Q: What is a cell? A:", "x y z " * 400 + "Q: What is a cell? A:"
    tokens = len(ours.tok_encode(short))
    narrow = limited(ours, tokens + 4)
    texts = narrow.generate_until(requests("generate_until", [(short, settings), (long, settings)]))
    assert texts[0] == texts[1]
    with pytest.raises(UserError, match="max_gen_toks=4 leaves no room for a context"):
        limited(ours, 4).generate_until(requests("generate_until", [(short, settings)]))


def test_generation_kwargs_are_settings_of_the_sampling():
    same = {"do_sample": True, "until": ["\n", ""], "max_gen_toks": 5}
    chosen = {"temperature": 0.5, "top_k": 3, "no_repeat_ngram_size": 2, "num_beams": 1}
    sampling = sampling_of(same | chosen)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.5, 3, 1.0)
    assert (sampling.no_repeat_ngram, sampling.max_new_tokens) == (2, 5)
    assert sampling.stop == ("\n",)
    assert sampling_of(same | {"do_sample": False, "temperature": 0.0}).temperature == 0
    with pytest.raises(UserError, match="sets num_beams, which is not supported; remove it"):
        sampling_of(same | {"num_beams": 4})


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("Q: a", ""), "the continuation '' has no token of its own after its context"),
        (("Q: a", " b" * 1025), "has 10[0-9]{2} tokens, but max_length is 1024; raise it"),
    ],
)
def test_a_continuation_that_cannot_be_scored_is_refused(ours, pair, message):
    with pytest.raises(UserError, match=message):
        ours.loglikelihood(requests("loglikelihood", [pair]))


def test_a_setting_that_cannot_be_used_is_refused(hf_folder):
    with pytest.raises(UserError, match="max_length=4096: the model has learned positions for"):
        TeacherLM(hf_folder("opt"), max_length=4096)


def test_texts_begin_like_those_of_the_model(hf_folder, ours):
    assert ours.prefix_token_id == 1 and ours.eot_token_id == 2
    opt = TeacherLM(hf_folder("opt"), dtype="")
    assert opt.max_length == 2048
    assert opt.tok_encode("Cells")[0] == 2 == opt.prefix_token_id
    assert opt.tok_encode("Cells", add_special_tokens=False) == opt.tok_encode("Cells")[1:]


def test_the_harness_finds_the_model_by_its_name():
    assert lm_eval.api.registry.get_model("teacherlm") is TeacherLM
    project = tomllib.loads(
        (pathlib.Path(teacherlm_jax.__file__).parents[1] / "pyproject.toml").read_text()
    )["project"]
    module, _, name = project["entry-points"]["lm_eval.models"]["teacherlm"].partition(":")
    assert getattr(importlib.import_module(module), name) is TeacherLM


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "teacherlm_jax.evaluation.lm_eval")
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -r requirements-lm_eval\.txt"):
        importlib.import_module("teacherlm_jax.evaluation.lm_eval")
