"""The engine, compared with texts generated one by one, and its edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import Completion, GenerationRequest
from teacherlm_jax.generation.sampling import request_key, sample
from teacherlm_jax.models import registry

EOS = 1
NEW = 24
SAMPLING = SamplingConfig(temperature=1.0, top_k=12, top_p=0.95, max_new_tokens=NEW)


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(
        layers=2, width=32, heads=4, vocab_size=32, dtype="float32", initializer_range=0.1
    )
    return registry.build(config, nnx.Rngs(0))


@pytest.fixture(scope="module")
def requests():
    rng = np.random.default_rng(0)
    lengths = [1, 30, 16, 17, 3, 5, 8, 22, 2, 11, 29, 4, 7]
    return [
        GenerationRequest(
            str(n), tuple(rng.integers(2, 32, length).tolist()), request_key(0, str(n), "cot")
        )
        for n, length in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def engine(model):
    return Engine(model, slots=4, prompt_length=30, sampling=SAMPLING, eos_id=EOS, steps_per_sync=5)


@pytest.fixture(scope="module")
def naive(model, requests):
    """Texts that are generated one by one, with a full forward pass per token."""
    graph, state = nnx.split(model)
    forward = jax.jit(lambda state, tokens: nnx.merge(graph, state)(tokens))

    def write(request):
        tokens, written = list(request.tokens), []
        while len(written) < NEW:
            row = np.zeros((1, 64), np.int32)
            row[0, : len(tokens)] = tokens
            logits = forward(state, row)[:, len(tokens) - 1]
            key, counter = jnp.asarray(request.key)[None], jnp.array([len(written)])
            token = int(sample(logits, key, counter, SAMPLING)[0])
            if token == EOS:
                return Completion(request.id, tuple(written), "eos")
            written.append(token)
            tokens.append(token)
        return Completion(request.id, tuple(written), "length")

    return {request.id: write(request) for request in requests}


def _by_id(completions):
    completions = list(completions)
    actual = {completion.id: completion for completion in completions}
    assert len(actual) == len(completions)
    return actual


def test_texts_equal_those_generated_one_by_one_with_full_forward_passes(engine, requests, naive):
    assert _by_id(engine.generate(requests)) == naive
    reasons = {completion.finish_reason for completion in naive.values()}
    assert reasons == {"eos", "length"}  # both reasons occur


@pytest.mark.parametrize("slots", [1, 16])
def test_texts_do_not_depend_on_the_number_of_slots(model, requests, naive, slots):
    other = Engine(model, slots=slots, prompt_length=30, sampling=SAMPLING, eos_id=EOS)
    assert _by_id(other.generate(requests)) == naive


def test_texts_do_not_depend_on_order_or_neighbours(engine, requests, naive):
    assert _by_id(engine.generate(reversed(requests))) == naive
    assert _by_id(engine.generate(requests[3:5])) == {n: naive[n] for n in ("3", "4")}


def test_texts_of_a_sharded_model_are_the_same(model, requests, naive):
    graph, state = nnx.split(model)
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        sharded = nnx.merge(graph, jax.device_put(state, sharding.state_shardings(state, mesh)))
        engine = Engine(sharded, slots=8, prompt_length=30, sampling=SAMPLING, eos_id=EOS)
        assert _by_id(engine.generate(requests)) == naive
        with pytest.raises(UserError, match=r"config\.slots=6: expected a positive multiple of 4"):
            Engine(sharded, slots=6, prompt_length=30, sampling=SAMPLING, eos_id=EOS)


@pytest.mark.parametrize("temperature", [0.0, 100.0])
def test_ids_outside_drawable_are_never_sampled(model, requests, temperature):
    settings = SamplingConfig(temperature=temperature, top_k=0, max_new_tokens=NEW)
    drawable = range(EOS, 9)  # of 32 rows, which are equally likely at 100
    engine = Engine(
        model, slots=4, prompt_length=30, sampling=settings, eos_id=EOS, drawable=drawable
    )
    drawn = {token for text in engine.generate(requests) for token in text.tokens}
    assert drawn <= set(drawable)
    assert temperature == 0 or drawn == set(drawable) - {EOS}


def test_slots_stay_busy_with_texts_of_uneven_lengths(model, monkeypatch):
    engine = Engine(
        model,
        slots=8,
        prompt_length=8,
        sampling=SamplingConfig(temperature=100.0, top_k=0, max_new_tokens=64),
        eos_id=EOS,
        drawable=range(EOS, EOS + 16),  # one token in sixteen ends a text
        steps_per_sync=1,
    )
    write, busy = engine._decode, []

    def counted(parameters, slots, window):
        busy.append(int(slots.active.sum()))
        return write(parameters, slots, window)

    monkeypatch.setattr(engine, "_decode", counted)
    prompts = [GenerationRequest(str(n), (3, 4), request_key(0, str(n), "cot")) for n in range(64)]
    lengths = [len(text.tokens) for text in engine.generate(prompts)]
    assert max(lengths) > 2 * sum(lengths) / len(lengths)
    started = busy[: -max(lengths)]  # at the end no request is waiting
    assert sum(started) > 0.85 * 8 * len(started)


def test_a_finished_text_is_yielded_before_all_requests_are_read(engine, requests):
    read = []

    def reading():
        for request in requests:
            read.append(request.id)
            yield request

    next(engine.generate(reading()))
    assert len(read) < len(requests)


def test_no_requests_give_no_completions(engine):
    assert list(engine.generate([])) == []


def test_a_text_of_one_token_comes_from_the_prefill_alone(model, requests, naive):
    short = SamplingConfig(temperature=1.0, top_k=12, top_p=0.95, max_new_tokens=1)
    engine = Engine(model, slots=4, prompt_length=30, sampling=short, eos_id=EOS)
    for completion in engine.generate(requests[4:7]):  # of one bucket
        assert completion.tokens == naive[completion.id].tokens[:1]


def test_a_prompt_that_is_too_long_is_refused_with_its_id_and_both_numbers(engine):
    request = GenerationRequest("row 7", (3,) * 31, request_key(0, "row 7", "cot"))
    with pytest.raises(
        UserError, match="request row 7: its prompt has 31 tokens, expected 1 to 30"
    ):
        list(engine.generate([request]))


def test_an_empty_prompt_is_refused(engine):
    with pytest.raises(UserError, match="request x: its prompt has 0 tokens"):
        list(engine.generate([GenerationRequest("x", (), request_key(0, "x", "cot"))]))


def test_texts_beyond_the_learned_positions_are_refused_before_generation():
    config = ModelConfig("opt", 1, 8, 2, vocab_size=32, max_positions=40)
    opt = registry.build(config, nnx.Rngs(0))
    with pytest.raises(UserError, match="max_new_tokens=24: prompts of up to 17 tokens .* 41"):
        Engine(opt, slots=1, prompt_length=17, sampling=SAMPLING, eos_id=EOS)
    Engine(opt, slots=1, prompt_length=16, sampling=SAMPLING, eos_id=EOS)


def test_the_programs_of_an_engine_compile_without_running_it(model, engine):
    prefill, decode = engine.programs()
    assert prefill.name == "prefill of 1 prompts of 30 tokens"
    assert decode.name == "decode of 5 tokens in 4 slots"
    for program in (prefill, decode):
        sizes = program.lowered.compile().memory_analysis()
        cache = 2 * 2 * 4 * (30 + NEW) * 32 * 4  # keys and values of two layers in four slots
        assert sizes.alias_size_in_bytes >= cache, "the cache is updated in place"


def test_the_programs_of_a_model_of_shapes_are_placed_on_its_mesh(model):
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        graph, shapes = sharding.abstract_model(
            lambda: registry.build(
                ModelConfig(layers=2, width=32, heads=4, vocab_size=32, dtype="float32"),
                nnx.Rngs(0),
            ),
            mesh,
        )
        abstract = nnx.merge(graph, shapes)
        engine = Engine(abstract, slots=8, prompt_length=16, sampling=SAMPLING, eos_id=EOS)
        compiled = engine.programs()[1].lowered.compile()
    cache = 2 * 2 * 8 * (16 + NEW) * 32 * 4
    assert cache / 8 <= compiled.memory_analysis().alias_size_in_bytes < cache / 4
