"""Scores of `evaluate` for a Hugging Face model, compared with transformers."""

import numpy as np
import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.data.sample import LETTERS
from teacherlm_jax.evaluation import benchmarks, tokenized
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")

TOLERANCE = 2e-5  # nats, in float32
ROWS = [
    {"id": f"{number}", "question": f"Is {name} red?", "options": ["no", "yes", "a bit"]}
    | {"answer": "no"}
    for number, name in enumerate(("sky", "grass", "a rose", "blood", "snow", "a ripe apple"))
]
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    toys = [BenchmarkConfig(score, "set.jsonl", score=score) for score in ("letters", "texts")]
    return EvaluateConfig(root={root!r}, benchmarks=tuple(toys))
"""


def evaluated(model, folder):
    """Return, by benchmark, the scores of each question's options and the chosen options."""
    (folder / "config.py").write_text(CONFIG.format(root=str(folder)))
    words = [f"--config={folder}/config.py", f"--config.output={folder / 'out'}"]
    assert main.main(["evaluate", *words, f"--config.model={model}"]) == 0
    results = {}
    for score in ("letters", "texts"):
        rows = [row for _, row in files.read_jsonl(folder / "out" / f"{score}.predictions.jsonl")]
        scores = [tuple(row["scores"].values()) for row in rows]
        results[score] = scores, [LETTERS.index(row["prediction"]) for row in rows]
    return results


def expected_scores(pair, vocabulary, root, score):
    """Return the mean log-probability by transformers of each option's tokens, one at a time."""
    config = BenchmarkConfig("toys", "set.jsonl", score=score)
    questions = benchmarks.read(config, str(root), RefusedRows(None))
    encoded, _ = tokenized.tokenize(questions, vocabulary, max_length=2048)

    def mean(context, option):
        with torch.no_grad():
            logits = pair.reference(torch.tensor([[*context, *option]])).logits[0]
        read = logits.log_softmax(-1)[len(context) - 1 :]
        return float(np.mean([float(read[number, id]) for number, id in enumerate(option)]))

    return [tuple(mean(each.context, option) for option in each.options) for each in encoded]


def largest_difference(scores, expected):
    pairs = zip(scores, expected, strict=True)
    return max(abs(a - b) for pair in pairs for a, b in zip(*pair, strict=True))


def test_scores_and_predictions_of_an_import_equal_those_of_transformers(
    save, pair_of, convert, tmp_path
):
    folder, run = save(pair_of("bloom")), tmp_path / "run"
    assert convert(folder, run) == (0, "")  # a model that computes in bfloat16 by itself
    files.write_jsonl(tmp_path / "set.jsonl", ROWS)
    for score, (scores, choices) in evaluated(run, tmp_path).items():
        vocabulary = open_vocabulary(folder)
        expected = expected_scores(pair_of("bloom"), vocabulary, tmp_path, score)
        assert largest_difference(scores, expected) <= TOLERANCE
        assert choices == [each.index(max(each)) for each in expected]
