"""The Python API: what notebooks use."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest

import teacherlm_jax
from teacherlm_jax.annotation import explain
from teacherlm_jax.config import (
    DEFAULT_GATES,
    AnnotateConfig,
    ConvertConfig,
    EvaluateConfig,
    LoraConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PrepareConfig,
    ReportConfig,
    SamplingConfig,
    TrainConfig,
)
from teacherlm_jax.data import packing, prompts, synthetic
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.requests import Completion
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

QUESTION, OPTIONS, ANSWER = "Is ice cold?", ("Yes", "No"), "A"
SHORT = SamplingConfig(max_new_tokens=5)


@pytest.fixture(scope="module")
def config(write_prepared, tmp_path_factory):
    """Two steps of a tiny model on generated samples."""
    folder = tmp_path_factory.mktemp("api")
    samples = list(synthetic.generate(24, seed=0))
    texts = [prompts.pieces(sample, "CMF", synthetic.AUTHOR) for sample in samples]
    joined = ["".join(piece.text for piece in pieces) for pieces in texts]
    vocabulary = train_sentencepiece(joined, folder / "vocabulary", 500, seed=0)
    encoded = packing.encode_texts(texts, vocabulary, "text")
    data = write_prepared(folder / "data", encoded, vocabulary, length=256)
    return TrainConfig(
        output=str(folder / "run"),
        data=str(data),
        model=ModelConfig(layers=1, width=16, heads=2, dtype="float32"),
        mesh=MeshConfig(data=8),
        batch_size=8,
        steps=2,
    )


@pytest.fixture(scope="module")
def result(config):
    return teacherlm_jax.train(config)


@pytest.fixture(scope="module")
def model(config, result):
    return teacherlm_jax.load(config.output)


def test_training_returns_its_result_and_a_finished_run_returns_it_again(config, result):
    assert result["step"] == 2 and result["loss"] > 0
    assert teacherlm_jax.train(config) == result


def test_adapters_are_trained_and_used_like_any_model(config, result, model, tmp_path):
    adapted = dataclasses.replace(
        config, output=str(tmp_path / "adapted"), init_from=config.output,
        lora=LoraConfig(rank=2), optimizer=OptimizerConfig(learning_rate=0.1),
    )  # fmt: skip
    trained = teacherlm_jax.train(adapted)
    assert trained["trained_parameters"] < trained["parameters"] / 2
    own = teacherlm_jax.load(adapted.output)
    scores = [one.score(QUESTION, OPTIONS).scores for one in (own, model)]
    assert scores[0] != scores[1]
    assert list(own.explain(QUESTION, OPTIONS, ANSWER, sampling=SHORT)) == list(KINDS)
    assert verbs.run("convert", ConvertConfig(adapted.output, str(tmp_path / "merged"))) is None
    merged = teacherlm_jax.load(tmp_path / "merged", dtype="float32")
    assert merged.score(QUESTION, OPTIONS).scores == pytest.approx(scores[0], abs=1e-4)


def test_an_invalid_config_is_refused_by_key(config):
    with pytest.raises(UserError, match=r"config\.data: "):
        teacherlm_jax.train(TrainConfig(output=config.output))


@pytest.mark.parametrize(
    ("function", "settings", "key"),
    [
        (teacherlm_jax.prepare, PrepareConfig(), "output"),
        (teacherlm_jax.annotate, AnnotateConfig(output="x"), "source.name"),
        (teacherlm_jax.dry_run, AnnotateConfig(output="x"), "source.name"),
        (teacherlm_jax.evaluate, EvaluateConfig(output="x"), "model"),
        (teacherlm_jax.convert, ConvertConfig(output="x"), "source"),
        (teacherlm_jax.write_report, ReportConfig(output="x"), "root"),
    ],
)
def test_every_command_refuses_an_invalid_config_by_key(function, settings, key):
    with pytest.raises(UserError, match=rf"config\.{key}: "):
        function(settings)


def test_the_figures_of_a_run_are_charts(config, result):
    charts = teacherlm_jax.figures(config.output)
    (losses,) = charts["loss"].to_dict()["datasets"].values()
    assert losses[-1] == {"run": "run", "step": 2, "value": pytest.approx(result["loss"])}
    with pytest.raises(UserError, match="no such folder"):
        teacherlm_jax.figures(f"{config.output}/nothing")


def test_a_model_explains_a_question_in_three_ways(model):
    explanations = model.explain(QUESTION, OPTIONS, ANSWER, sampling=SHORT)
    assert list(explanations) == ["cot", "fundamental", "mistake"]
    for explanation in explanations.values():
        assert tuple(explanation.gates) == DEFAULT_GATES
        assert str(explanation) == explanation.text


def test_an_explanation_passes_only_if_every_gate_accepts_it(model, monkeypatch):
    """A text that contradicts the answer A: as a chain of thought it fails one gate of two."""
    tokens = tuple(model.loaded.vocabulary.encode("So the answer is (B)."))

    def complete(loaded, requests, sampling, **settings):
        for request in requests:
            yield Completion(request.id, tokens, "eos")

    monkeypatch.setattr(explain, "complete", complete)
    explanations = model.explain(
        *(QUESTION, OPTIONS, ANSWER),
        kinds=("cot", "fundamental"),
        gates=("finished", "concludes_answer"),
    )
    assert {kind: explanation.gates for kind, explanation in explanations.items()} == {
        "cot": {"finished": True, "concludes_answer": False},
        "fundamental": {"finished": True, "concludes_answer": True},
    }
    assert not explanations["cot"].passed
    assert explanations["fundamental"].passed


def test_an_explanation_depends_on_its_kind_and_seed_alone(model):
    all_kinds = model.explain(QUESTION, OPTIONS, ANSWER, sampling=SHORT, seed=3)
    one_kind = model.explain(QUESTION, OPTIONS, "yes", kinds=("mistake",), sampling=SHORT, seed=3)
    assert one_kind["mistake"] == all_kinds["mistake"]
    other_seed = model.explain(QUESTION, OPTIONS, ANSWER, sampling=SHORT, seed=4)
    texts = [
        {kind: str(text) for kind, text in by_kind.items()} for by_kind in (all_kinds, other_seed)
    ]
    assert texts[0] != texts[1]


def test_an_answer_that_is_not_an_option_is_refused(model):
    with pytest.raises(UserError, match=r"'Is ice cold\?': "):
        model.explain(QUESTION, OPTIONS, "Perhaps")


@pytest.mark.parametrize("score", ["letters", "texts"])
def test_the_prediction_is_the_option_with_the_best_score(model, score):
    scored = model.score(QUESTION, OPTIONS, score=score)
    assert scored.options == OPTIONS and len(scored.scores) == 2
    assert all(value < 0 for value in scored.scores)
    assert scored.prediction == OPTIONS[scored.scores.index(max(scored.scores))]


def test_an_option_may_be_a_letter(model):
    letters = model.score("Which blood group has neither antigen?", ("O", "A", "B", "AB"))
    assert len(letters.scores) == 4


def test_a_question_is_read_from_its_beginning_or_refused(model, monkeypatch):
    rest, read, predict = "word " * 1500, [], predictions.predict
    monkeypatch.setattr(
        predictions,
        "predict",
        lambda encoded, *rest: read.append(encoded) or predict(encoded, *rest),
    )
    model.score(f"Ice. {rest}", OPTIONS)
    (question,) = read[0].ids
    text = model.loaded.vocabulary.decode(list(question.context))
    assert text.startswith("Q: Ice. word") and len(question.context) > 2048
    positions = dataclasses.replace(model.loaded.config, max_positions=64)
    limited = teacherlm_jax.Model(dataclasses.replace(model.loaded, config=positions), model.mesh)
    with pytest.raises(UserError, match=r"question: too long for the model, .* for 64 tokens"):
        limited.score(rest, OPTIONS)
    with pytest.raises(UserError, match=r"its longest option has \d+ tokens, but the model has"):
        limited.score(QUESTION, ("yes", rest), score="texts")


def test_a_question_without_options_has_no_scores(model):
    with pytest.raises(UserError, match=r"^options: empty; give at least two texts$"):
        model.score(QUESTION, ())


def test_the_sum_over_an_options_tokens_is_no_higher_than_their_mean(model):
    options = ("it is very cold in the winter", "no")
    means = model.score(QUESTION, options, score="texts").scores
    sums = model.score(QUESTION, options, score="texts", reduction="sum").scores
    assert sums[0] < means[0]


def test_a_text_in_place_of_a_list_is_refused(model):
    with pytest.raises(
        UserError, match=r"^kinds: expected a list of names, got 'cot'; use \['cot'\]$"
    ):
        model.explain(QUESTION, OPTIONS, ANSWER, kinds="cot")
    with pytest.raises(UserError, match="^gates: expected a list of names, got 'finished'"):
        model.explain(QUESTION, OPTIONS, ANSWER, gates="finished")
    with pytest.raises(UserError, match="^options: expected a list of texts, got the text 'Yes'$"):
        model.score(QUESTION, "Yes")


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(UserError, match="^prompt: empty"):
        model.generate("")


def test_an_unknown_value_of_score_is_refused(model):
    with pytest.raises(
        UserError, match=r"arguments\.score: expected one of 'letters', 'texts', got 'words'"
    ):
        model.score(QUESTION, OPTIONS, score="words")


def test_generation_is_deterministic_for_a_seed(model):
    text = model.generate("Q: Is ice cold?", sampling=SHORT, seed=1)
    assert text == model.generate("Q: Is ice cold?", sampling=SHORT, seed=1)


def test_later_calls_use_the_programs_of_earlier_ones(model, monkeypatch):
    def calls():
        model.explain("Is ice cold or is it hot?", OPTIONS, ANSWER, sampling=SHORT)
        model.generate(QUESTION, sampling=SHORT)

    calls()
    monkeypatch.setattr(texts, "engine_of", lambda *_, **__: pytest.fail("compiled again"))
    calls()
    for longer in ("Is cold ice?", "Is ice ever so cold as that?"):
        model.explain(longer, OPTIONS, ANSWER, sampling=SHORT, seed=1)
    model.generate("Is fire hot?", sampling=SHORT)
    with pytest.raises(pytest.fail.Exception, match="compiled again"):
        model.generate(QUESTION, sampling=dataclasses.replace(SHORT, max_new_tokens=6))


def test_numbers_of_numpy_are_seeds(model):
    texts = [model.generate(QUESTION, sampling=SHORT, seed=seed) for seed in (1, np.int64(1))]
    assert texts[0] == texts[1]


def test_a_kind_that_is_named_twice_is_written_once(model):
    assert list(model.explain(QUESTION, OPTIONS, ANSWER, kinds=("cot", "cot"), sampling=SHORT)) == [
        "cot"
    ]


def test_a_model_is_loaded_onto_a_mesh_as_jax_makes_it(result, config):
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"))
    model = teacherlm_jax.load(config.output, mesh=mesh)
    assert model.score(QUESTION, OPTIONS).prediction in OPTIONS
    with pytest.raises(UserError, match=r"^mesh: expected the axes data, fsdp, tensor, got batch;"):
        teacherlm_jax.load(config.output, mesh=jax.make_mesh((8,), ("batch",)))


def test_a_model_is_loaded_with_another_attention(result, config):
    with pytest.raises(UserError, match=r"argument is attention in teacherlm_jax\.load"):
        teacherlm_jax.load(config.output, attention="fused").score(QUESTION, OPTIONS)
    blockwise = teacherlm_jax.load(config.output, attention="blockwise")
    assert blockwise.loaded.config.attention == "blockwise"
    assert blockwise.score(QUESTION, OPTIONS).prediction in OPTIONS


def test_a_path_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder; expected a run folder"):
        teacherlm_jax.load(tmp_path / "nothing")


def test_importing_the_package_imports_neither_jax_nor_numpy():
    code = (
        "import sys, teacherlm_jax\n"
        "assert 'load' in dir(teacherlm_jax)\n"
        "print(sorted({'jax', 'numpy', 'flax', 'tensorflow'} & sys.modules.keys()))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "[]"


def test_the_package_has_no_other_attributes():
    with pytest.raises(AttributeError, match="no attribute 'explode'"):
        getattr(teacherlm_jax, "explode".lower())
