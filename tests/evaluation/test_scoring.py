"""Scores of the batched scorer, compared with a scorer of one text at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig
from teacherlm_jax.evaluation import scoring
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion
from teacherlm_jax.models import registry

VOCABULARY = 96
# Both paths compute in float32; they differ by the order of sums over different batch shapes.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def model():
    shape = ModelConfig(layers=2, width=16, heads=2, vocab_size=VOCABULARY, dtype="float32")
    return registry.build(shape, nnx.Rngs(0))


@pytest.fixture(scope="module")
def logits(model):
    """Logits of one text, padded on the right to one length, so that the model compiles once."""
    run = jax.jit(lambda tokens: model(tokens))

    def of(text):
        return np.asarray(run(np.pad(text, (0, 48 - len(text)))[None]), np.float64)[0, : len(text)]

    return of


@pytest.fixture(scope="module")
def one_device():
    return sharding.make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.fixture(scope="module")
def scorer(model, one_device):
    return scoring.Scorer(model, mesh=one_device, batch_tokens=96, pad_id=0)


def _questions(options: list[list[int]], lengths=(3, 17, 31, 32, 33, 40, 5)) -> list:
    """Return random questions of these context lengths with options of these token counts."""
    draw = np.random.default_rng(7)
    drawn = []
    for index, length in enumerate(lengths):
        counts = options[index % len(options)]
        context = tuple(draw.integers(3, VOCABULARY, length).tolist())
        texts = tuple(tuple(draw.integers(3, VOCABULARY, count).tolist()) for count in counts)
        drawn.append(TokenizedQuestion(context, texts))
    return drawn


def _by_hand(logits, question: TokenizedQuestion) -> list[float]:
    """Compute the scores one text at a time with a full softmax in float64."""
    scores = []
    for option in question.options:
        text = np.array(question.context + option)
        actual = logits(text)
        actual -= actual.max(axis=-1, keepdims=True)
        actual -= np.log(np.exp(actual).sum(axis=-1, keepdims=True))
        start = len(question.context)
        scores.append(sum(actual[at - 1, text[at]] for at in range(start, len(text))))
    return scores


@pytest.mark.parametrize("options", [[[1, 1], [1, 1, 1, 1, 1]], [[2, 1, 3], [1, 1]]])
def test_scores_equal_those_of_one_text_at_a_time(scorer, logits, options):
    questions = _questions(options)
    for question, actual in zip(questions, scorer.score(questions), strict=True):
        assert actual == pytest.approx(_by_hand(logits, question), abs=TOLERANCE)


@pytest.mark.parametrize("share_contexts", [True, False])
def test_what_the_model_reads_is_counted_without_padding(model, one_device, share_contexts):
    questions = _questions([[1, 1], [3, 2]], lengths=(4, 5))
    scorer = scoring.Scorer(model, mesh=one_device, batch_tokens=96, pad_id=0)
    scorer.score(questions, share_contexts=share_contexts)
    # The last token of an option is scored, but not read.
    texts = [4, 4, 5 + 2, 5 + 1]
    if share_contexts:  # the first question is one text; the other has a prefix of 4 tokens
        suffixes = sum(own * 4 + own * (own + 1) // 2 for own in (3, 2))
        expected = (4 + 4 + 3 + 2, 10 + 10 + suffixes, 1 + 5)
    else:
        expected = (sum(texts), sum(size * (size + 1) // 2 for size in texts), 2 + 5)
    counts = scorer.counts
    assert (counts.read, counts.pairs, counts.states) == expected
    assert counts.scored == 2 + 5


def test_one_row_per_question_gives_the_scores_of_one_row_per_option(scorer):
    questions = _questions([[1, 1, 1, 1]])
    together = scorer.score(questions)
    apart = scorer.score(questions, share_contexts=False)
    assert np.asarray(together) == pytest.approx(np.asarray(apart), abs=TOLERANCE)


@pytest.mark.parametrize("longest", [1, 3])
def test_an_option_is_greedy_if_each_token_is_the_likeliest(scorer, logits, longest):
    (question,) = _questions([[1] * 4], lengths=(9,))
    text = list(question.context)
    for _ in range(longest):
        text.append(int(logits(np.array(text))[-1].argmax()))
    greedy = tuple(text[len(question.context) :])
    others = [(*greedy[:n], (token + 1) % VOCABULARY) for n, token in enumerate(greedy)]
    asked = TokenizedQuestion(question.context, (greedy, *others))
    for together in (True, False):
        (options,) = scorer.options([asked], share_contexts=together)
        assert [option.greedy for option in options] == [True, *[False] * longest]


@pytest.mark.parametrize(
    "shape", [{"family": "bloom"}, {"family": "opt", "max_positions": 160}], ids=["bloom", "opt"]
)
def test_a_shared_context_gives_the_scores_of_one_row_per_option(one_device, shape):
    config = ModelConfig(
        layers=2, width=32, heads=4, vocab_size=VOCABULARY, dtype="float32", **shape
    )
    model = registry.build(config, nnx.Rngs(0))
    scorer = scoring.Scorer(model, mesh=one_device, batch_tokens=512, pad_id=0)
    options = [[1, 2], [9, 3, 1, 4, 5], [1, 1], [3, 3, 3, 3]]
    questions = _questions(options, lengths=(1, 2, 31, 33, 34, 50, 150, 120))
    together = scorer.score(questions)
    apart = scorer.score(questions, share_contexts=False)
    for actual, expected in zip(together, apart, strict=True):
        assert actual == pytest.approx(expected, abs=1e-5)


def _counting(scorer):
    """Count the tokens that the programs of a scorer run through the model, padding included."""
    counts = []

    def counted(program, arguments):
        def run(state, *arrays):
            counts.append(sum(arrays[index].size for index in arguments))
            return program(state, *arrays)

        return run

    scorer.log_probabilities = counted(scorer.log_probabilities, (0,))
    scorer.log_probabilities_after_prefix = counted(scorer.log_probabilities_after_prefix, (0, 2))
    return counts


def test_a_long_context_runs_through_the_model_once_for_all_options(model, one_device):
    scorer = scoring.Scorer(model, mesh=one_device, batch_tokens=1024, pad_id=0)
    counts = _counting(scorer)
    questions = _questions([[4, 2, 3, 4]], lengths=(193,) * 4)  # 192 tokens of prefix
    scorer.score(questions)
    assert sum(counts) == 4 * (192 + 4 * 4)
    counts.clear()
    scorer.score(questions, share_contexts=False)
    assert sum(counts) == 4 * 4 * 256


def test_scores_do_not_depend_on_the_batch_size_or_the_padding_id(model, one_device, scorer):
    questions = _questions([[1, 1]])
    other = scoring.Scorer(model, mesh=one_device, batch_tokens=1, pad_id=9)
    expected = np.asarray(scorer.score(questions))
    assert np.asarray(other.score(questions)) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("options", [[[1, 1]], [[2, 3, 1]]])
def test_scores_do_not_depend_on_the_sharding_of_rows(model, scorer, options):
    questions = _questions(options, lengths=(3, 17, 31, 9, 22))
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    graph, state = nnx.split(model)
    placed = jax.device_put(state, sharding.state_shardings(state, mesh))
    spread = scoring.Scorer(nnx.merge(graph, placed), mesh=mesh, batch_tokens=96, pad_id=0)
    expected = np.asarray(scorer.score(questions))
    assert np.asarray(spread.score(questions)) == pytest.approx(expected, abs=TOLERANCE)


def test_there_is_one_compilation_per_length_of_rows(model, one_device):
    scorer = scoring.Scorer(model, mesh=one_device, batch_tokens=256, pad_id=0)
    for lengths in (range(30, 49), range(34, 49)):
        scorer.score(_questions([[1, 1], [1, 1, 1]], lengths=(*lengths, 300)))
        assert scorer.log_probabilities._cache_size() == 2  # rows of 384 and of 256 tokens


def test_short_questions_share_rows(model, one_device, logits):
    scorer = scoring.Scorer(model, mesh=one_device, batch_tokens=512, pad_id=0)
    counts = _counting(scorer)
    questions = _questions([[1, 1], [1, 1, 1]], lengths=(40, 20, 25, 40, 3) * 8)
    scores = scorer.score(questions)
    assert sum(counts) == 4 * 256 + 256  # 1,024 tokens, of which no question is split
    for question, actual in zip(questions, scores, strict=True):
        assert actual == pytest.approx(_by_hand(logits, question), abs=TOLERANCE)


def test_a_bucket_may_be_longer_than_the_learned_positions(one_device):
    shape = ModelConfig("opt", 1, 16, 2, vocab_size=VOCABULARY, max_positions=20, dtype="float32")
    opt = registry.build(shape, nnx.Rngs(0))
    questions = _questions([[1, 1]], lengths=(17,))  # in a bucket of 32
    (actual,) = scoring.Scorer(opt, mesh=one_device, batch_tokens=96, pad_id=0).score(questions)
    row = jnp.array([questions[0].context])
    last = jax.nn.log_softmax(opt(row)[0, -1])
    expected = [float(last[option[0]]) for option in questions[0].options]
    np.testing.assert_allclose(actual, expected, atol=TOLERANCE)
