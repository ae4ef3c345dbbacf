"""Several adapters over one base, chosen per text, in one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax.config import LoraConfig, ModelConfig, SamplingConfig
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest, WaitingFamilies
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.models import adapter, registry

EOS = 1
SAMPLING = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=12)
SHAPES = {"bloom": {}, "opt": {"family": "opt", "max_positions": 64}}
LORA = LoraConfig(rank=4)


@pytest.fixture(scope="module", params=SHAPES)
def models(request):
    """A model with three adapters, and the three models that have one of them each."""
    config = ModelConfig(
        **{"layers": 2, "width": 32, "heads": 4, "vocab_size": 32, "dtype": "float32"}
        | {"initializer_range": 0.1, **SHAPES[request.param]}
    )
    graph, state = nnx.split(registry.build(config, nnx.Rngs(0), LORA))
    base, empty = adapter.split(nnx.to_pure_dict(state))

    def drawn(seed):
        # Rounding grows with the values: keys and logits of about 2 keep it below atol=5e-6.
        keys = iter(jax.random.split(jax.random.key(seed), 100))
        return jax.tree.map(lambda leaf: 0.1 * jax.random.normal(next(keys), leaf.shape), empty)

    each = [drawn(seed) for seed in range(3)]
    alone = [nnx.merge(graph, adapter.joined(base, own)) for own in each]
    return nnx.merge(graph, adapter.joined(base, adapter.stacked(each))), alone


def requests(order):
    """Requests of three texts for each prompt, which share all but the last token of a prompt."""
    rng, made = np.random.default_rng(0), []
    for number, length in enumerate((3, 9, 17, 5, 30)):
        shared = tuple(rng.integers(2, 32, length).tolist())
        for index in order:
            id = f"{number}.{index}"
            key = request_key(0, str(number), str(index))
            made.append(
                GenerationRequest(id, (*shared, 5 + index), key, prefix=length, adapter=index % 3)
            )
    return made


def generated(model, wanted, **options):
    engine = Engine(
        model, prompt_length=31, sampling=SAMPLING, eos_id=EOS, steps_per_sync=5, **options
    )
    return {text.id: text for text in engine.generate(wanted)}


def test_every_text_is_the_one_that_its_adapter_writes_alone(models):
    together, alone = models
    wanted = requests(range(3))
    texts = generated(together, wanted, slots=6, adapted=True)
    assert len(texts) == 15
    for index in range(3):
        own = [request for request in wanted if request.adapter == index]
        assert generated(alone[index], own, slots=4) == {
            request.id: texts[request.id] for request in own
        }
    others = generated(alone[0], [r for r in wanted if r.adapter == 1], slots=4)
    assert others != {id: texts[id] for id in others}


def test_texts_of_one_adapter_share_a_prefix_and_those_of_two_do_not(models):
    together, alone = models
    wanted = requests((0, 3, 1))  # the first two have the same adapter
    waiting = WaitingFamilies(wanted, 31, members=3)
    waiting.fill(len(wanted))
    families = []
    while taken := waiting.take(len(wanted), 10):
        families += [[request.id for request in family.requests] for family in taken[1]]
    assert sorted(families) == sorted(
        ids for number in range(5) for ids in ([f"{number}.0", f"{number}.3"], [f"{number}.1"])
    )
    texts = generated(together, wanted, slots=6, members=2, adapted=True)
    own = [request for request in wanted if request.adapter == 0]
    assert generated(alone[0], own, slots=4, members=2) == {
        request.id: texts[request.id] for request in own
    }


def test_logits_of_rows_with_their_own_adapters_are_those_of_each_model(models):
    together, alone = models
    tokens = np.random.default_rng(1).integers(2, 32, (4, 9))
    rows, lengths = jnp.array([2, 0, 1, 2]), jnp.array([9, 4, 7, 9])
    suffixes = jnp.asarray(tokens[:, :2, None]), jnp.ones((4, 2), jnp.int32)
    args = (jnp.asarray(tokens), lengths, *suffixes)
    actual, keys = together.read_prompts(*args, adapters=rows)
    for row, index in enumerate(rows.tolist()):
        expected, own = alone[index].read_prompts(*(array[row : row + 1] for array in args))
        np.testing.assert_allclose(actual[row], expected[0], rtol=0, atol=5e-6)
        np.testing.assert_allclose(keys.k[:, row], own.k[:, 0], rtol=0, atol=5e-6)


def test_a_model_without_several_adapters_has_no_state_for_them(models):
    engine = Engine(models[1][0], slots=4, prompt_length=8, sampling=SAMPLING, eos_id=EOS)
    assert engine._device.empty(engine._parameters).adapters is None
    assert len(jax.tree.leaves(engine._device.empty(engine._parameters))) == 8
