"""Scores of options of real questions, compared with a plain loop with transformers."""

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.hf import any_model

TOLERANCE = 1e-4  # nats, in float32


def by_transformers(folder, questions, torch):
    """Return the mean log-probability of each option's tokens, one option at a time."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def mean(context, option):
        with torch.no_grad():
            text = torch.tensor([[*context, *option]])
            logits = model(text, logits_to_keep=len(option) + 1).logits[0, :-1]
        read = logits.log_softmax(-1).gather(-1, torch.tensor(option)[:, None])
        return read.mean().item()

    scores = []
    for question in questions:
        context = tokenizer(question.context)["input_ids"]
        options = [
            tokenizer(option, add_special_tokens=False)["input_ids"] for option in question.options
        ]
        scores.append([mean(context, option) for option in options])
    return scores


@pytest.mark.parametrize(("score", "count"), [("letters", 500), ("texts", 50)])
@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_scores_and_predictions_of_real_questions_are_those_of_transformers(
    hf_folder, mmlu_questions, torch, family, score, count
):
    folder, questions = hf_folder(family), mmlu_questions(score, count)
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    loaded = any_model.load(folder, mesh, dtype="float32")
    predicted, truncated = predictions.score(loaded, questions, batch_tokens=4096)
    assert truncated == 0
    expected = by_transformers(folder, questions, torch)
    for prediction, scores in zip(predicted, expected, strict=True):
        assert prediction.scores == pytest.approx(scores, abs=TOLERANCE), prediction.id
        assert prediction.choice == scores.index(max(scores)), prediction.id
    assert len({prediction.choice for prediction in predicted}) > 1, "one choice proves little"
