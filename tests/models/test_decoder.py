"""Properties of all families: packing, the KV cache, precision, remat and sharding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig
from teacherlm_jax.models import registry
from teacherlm_jax.models.cache import store_prompts

SHAPES = {
    "bloom": registry.SHAPES["bloom-tiny"],
    "opt": registry.SHAPES["opt-tiny"],
    "opt like 350m": registry.SHAPES["opt-tiny-350m"],
}


@pytest.fixture(scope="module", params=list(SHAPES))
def config(request) -> ModelConfig:
    shape = SHAPES[request.param]
    return dataclasses.replace(shape, vocab_size=64, dtype="float32", initializer_range=0.2)


@pytest.fixture(scope="module")
def model(config):
    return registry.build(config, nnx.Rngs(0))


@pytest.fixture(scope="module")
def forward(model):
    """Forward pass on up to 3 rows of 20 tokens, padded to one shape so that it compiles once."""
    graph, state = nnx.split(model)
    compiled = jax.jit(lambda *batch: nnx.merge(graph, state)(*batch))

    def run(tokens, positions=None, segment_ids=None):
        rows, length = tokens.shape
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(length), tokens.shape)
        if segment_ids is None:
            segment_ids = jnp.ones_like(tokens)
        batch = [
            jnp.pad(array, ((0, 3 - rows), (0, 20 - length)))
            for array in (tokens, positions, segment_ids)
        ]
        return compiled(*batch)[:rows, :length]

    return run


def _tokens(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(2, 64, shape), jnp.int32)


def _pack(texts, length):
    row = {
        "tokens": np.concatenate(texts),
        "positions": np.concatenate([np.arange(len(text)) for text in texts]),
        "segment_ids": np.concatenate([np.full(len(t), n + 1) for n, t in enumerate(texts)]),
    }
    return {k: jnp.asarray(np.pad(v, (0, length - len(v))))[None] for k, v in row.items()}


def test_packed_texts_do_not_see_each_other(forward):
    texts = [_tokens(n, seed=n) for n in (5, 1, 9)]
    packed = forward(**_pack(texts, length=20))
    start = 0
    for text in texts:
        alone = forward(text[None])
        np.testing.assert_allclose(packed[:, start : start + len(text)], alone, atol=1e-5)
        start += len(text)


def test_a_token_does_not_see_later_tokens(forward):
    tokens = _tokens(1, 12)
    logits, changed = forward(tokens), forward(tokens.at[0, 7].add(1))
    np.testing.assert_array_equal(changed[:, :7], logits[:, :7])
    assert float(jnp.abs(changed[:, 7:] - logits[:, 7:]).max()) > 0.1


def test_a_row_is_one_text_by_default(model, forward):
    tokens = _tokens(1, 12)
    np.testing.assert_allclose(model(tokens), forward(tokens), atol=1e-5)


def _read(model, tokens, lengths, cache_length, rest_room=2):
    """Read prompts whose prefix is all but the last tokens; padding is another token."""
    prefix_lengths = jnp.maximum(lengths - rest_room + 1, 0)
    rest = lengths - prefix_lengths
    prefixes = jnp.where(jnp.arange(tokens.shape[1])[None] < prefix_lengths[:, None], tokens, 63)
    at = jnp.minimum(prefix_lengths[:, None] + jnp.arange(rest_room)[None], tokens.shape[1] - 1)
    suffixes = jnp.take_along_axis(tokens, at, axis=1)[:, None]
    logits, keys = jax.jit(model.read_prompts)(prefixes, prefix_lengths, suffixes, rest[:, None])
    rows = jnp.arange(len(tokens))[:, None]
    empty = model.empty_cache(len(tokens), cache_length)
    return logits[:, 0], store_prompts(empty, keys, rows, prefix_lengths, rest[:, None])


@pytest.mark.parametrize(("window", "rest_room"), [(None, 2), (16, 4)])
def test_decoding_with_the_cache_equals_the_full_forward(model, forward, window, rest_room):
    tokens, lengths = _tokens(3, 16), jnp.array([1, 5, 9])
    full, rows = forward(tokens), jnp.arange(3)
    logits, cache = _read(model, tokens, lengths, 24, rest_room)
    decode = jax.jit(lambda tokens, cache: model.decode(tokens, cache, window))
    for step in range(7):
        np.testing.assert_allclose(logits, full[rows, lengths + step - 1], atol=1e-5)
        logits, cache = decode(tokens[rows, lengths + step], cache)
    np.testing.assert_array_equal(cache.lengths, lengths + 7)


def test_a_full_row_of_the_cache_does_not_affect_other_rows(model, forward):
    tokens = _tokens(2, 6)
    _, cache = _read(model, tokens, jnp.array([6, 3]), cache_length=6)
    logits, _ = jax.jit(model.decode)(tokens[:, 3], cache)
    np.testing.assert_allclose(logits[1], forward(tokens)[1, 3], atol=1e-5)


def _gradients(config):
    batch = _pack([_tokens(5), _tokens(4, seed=1)], length=12)
    empty = jax.tree.map(jnp.zeros_like, batch)  # a row of padding
    batch = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), batch, empty)
    model = registry.build(config, nnx.Rngs(0))
    graph, state = nnx.split(model)
    return jax.jit(jax.grad(lambda state: jnp.mean(nnx.merge(graph, state)(**batch) ** 2)))(state)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_finite_with_padding_and_nonzero_for_every_parameter(config, dtype):
    for gradient in jax.tree.leaves(_gradients(dataclasses.replace(config, dtype=dtype))):
        assert bool(jnp.isfinite(gradient).all())
        assert float(jnp.abs(gradient).max()) > 1e-5


def test_gradients_are_the_same_under_every_remat_policy():
    small = dataclasses.replace(SHAPES["bloom"], dtype="float32", initializer_range=0.2)
    plain, *recomputed = (
        jax.tree.leaves(_gradients(dataclasses.replace(small, remat=remat)))
        for remat in ("none", "dots", "full")
    )
    for gradients in recomputed:
        for actual, expected in zip(gradients, plain, strict=True):
            np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_bfloat16_computes_in_bfloat16_and_is_close_to_float32(config, forward):
    half = registry.build(dataclasses.replace(config, dtype="bfloat16"), nnx.Rngs(0))
    tokens = _tokens(2, 12)
    positions = jnp.broadcast_to(jnp.arange(12), tokens.shape)
    hidden = half.hidden(tokens, positions, jnp.ones_like(tokens))
    logits, expected = half.logits(hidden), forward(tokens)
    assert (hidden.dtype, logits.dtype) == (jnp.bfloat16, jnp.float32)
    assert float(jnp.abs(logits - expected).max()) < 0.1 * float(jnp.std(expected))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(half)))


def test_every_parameter_names_the_axis_of_each_dimension(model):
    parameters = list(nnx.to_flat_state(nnx.state(model)))
    assert len(parameters) > 10
    for path, parameter in parameters:
        assert len(parameter.axes) == parameter.get_value().ndim, path
        assert (parameter.axes[0] == "layers") == (path[0] == "blocks"), path


@pytest.mark.parametrize("attention", ["xla", "blockwise"])
def test_a_sharded_model_gives_the_results_of_one_device(config, model, forward, attention):
    tokens = _tokens(4, 12)
    expected = jnp.concatenate([forward(tokens[:2]), forward(tokens[2:])])
    chosen = dataclasses.replace(config, attention=attention)
    graph = nnx.graphdef(nnx.eval_shape(lambda: registry.build(chosen, nnx.Rngs(0))))
    state = nnx.state(model)
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        state = jax.device_put(state, sharding.state_shardings(state, mesh))
        placed = jax.device_put(tokens, sharding.batch_sharding(mesh))
        forward_on_mesh = jax.jit(lambda state, tokens: nnx.merge(graph, state)(tokens))
        logits = forward_on_mesh(state, placed)
        program = forward_on_mesh.lower(state, placed).compile().as_text()
    assert len(logits.sharding.device_set) == 8
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    unsharded = "[4,12,32]"  # input of the first block for the whole batch
    assert unsharded not in program
    on_one_device = jax.jit(lambda state, tokens: nnx.merge(graph, state)(tokens))
    alone = on_one_device.lower(nnx.state(model), tokens).compile().as_text()
    assert unsharded in alone


def test_the_program_does_not_grow_with_depth(config):
    def size(layers):
        deep = dataclasses.replace(config, layers=layers)
        model = nnx.eval_shape(lambda: registry.build(deep, nnx.Rngs(0)))
        graph, state = nnx.split(model)
        lowered = jax.jit(lambda state, tokens: nnx.merge(graph, state)(tokens)).lower(
            state, jax.ShapeDtypeStruct((1, 8), jnp.int32)
        )
        return len(lowered.as_text().splitlines())

    assert size(2) == size(24)


def test_the_graph_definition_can_be_hashed(config, model):
    rebuilt = nnx.graphdef(registry.build(config, nnx.Rngs(1)))
    assert hash(nnx.graphdef(model)) == hash(rebuilt)


@pytest.mark.parametrize("name", ["opt", "opt like 350m"])
def test_positions_beyond_the_learned_ones_give_nan(name):
    config = dataclasses.replace(SHAPES[name], dtype="float32", max_positions=4)
    model = registry.build(config, nnx.Rngs(0))
    logits = model(_tokens(1, 6))
    assert bool(jnp.isnan(logits[:, 4:]).all())
    assert bool(jnp.isfinite(model(_tokens(1, 4))).all())


def test_prompts_may_be_padded_beyond_the_learned_positions():
    config = dataclasses.replace(SHAPES["opt"], dtype="float32", max_positions=4)
    model = registry.build(config, nnx.Rngs(0))
    tokens = _tokens(1, 8)
    logits, _ = _read(model, tokens, jnp.array([3]), cache_length=8)
    np.testing.assert_allclose(logits, model(tokens[:, :3])[:, -1], atol=1e-5)
