"""The share of tied questions above which `evaluate` warns of them."""

import dataclasses

import pytest

from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.evaluation import scoring
from teacherlm_jax.evaluation.evaluate import evaluate
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.make_run import make_run
from tests.untrained import save_untrained

QUESTION = Sample(id="0", question="Is red a color?", answer="(B)", options=("no", "yes"))
ROWS = 200


@pytest.mark.parametrize("ties", [2, 3])
def test_ties_are_warned_of_above_one_per_cent_of_the_questions(
    tmp_path, monkeypatch, caplog, ties
):
    vocabulary = train_sentencepiece(["Q: Is red a color?"] * 9, tmp_path / "v", size=400, seed=0)
    model = save_untrained(tmp_path / "model", vocabulary)
    rows = [to_row(dataclasses.replace(QUESTION, id=str(number))) for number in range(ROWS)]
    files.write_jsonl(tmp_path / "set.jsonl", rows)
    scores = [(-1.0, -1.0)] * ties + [(-1.0, -2.0)] * (ROWS - ties)
    monkeypatch.setattr(scoring.Scorer, "score", lambda self, encoded, **_: scores)
    toys = BenchmarkConfig("toys", "set.jsonl")
    config = EvaluateConfig(root=str(tmp_path), model=str(model), benchmarks=(toys,))
    result = evaluate(config, make_run(tmp_path / "run"))
    assert result["benchmarks"]["toys"]["ties"] == ties
    warning = f"toys: {ties} of {ROWS} questions have several options with the best score"
    assert (warning in caplog.text) == (ties > 2)
