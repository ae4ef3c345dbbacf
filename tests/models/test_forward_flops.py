"""FLOPs of a forward pass, counted by hand; tests/training/test_flops.py compares them with XLA."""

import pytest

from teacherlm_jax.models import registry
from teacherlm_jax.models.forward_flops import forward_flops


def test_blocks_attention_and_head_are_counted_by_their_own_numbers():
    # Width 32, two layers, 512 words. A pair of a query and a key has 32 products for its score and
    # 32 for its value, in each layer.
    config = registry.shape("bloom-tiny")
    assert forward_flops(config, 10, 0, 0) == 10 * 2 * (2 * 12 * 32 * 32)
    assert forward_flops(config, 0, 10, 0) == 10 * 2 * (2 * 2 * 32)
    assert forward_flops(config, 0, 0, 10) == 10 * 2 * (32 * 512)
    assert forward_flops(config, 3, 5, 7) == sum(
        (forward_flops(config, 3, 0, 0), forward_flops(config, 0, 5, 0))
    ) + forward_flops(config, 0, 0, 7)


def test_a_narrow_embedding_is_projected_at_both_ends():
    narrow, plain = registry.shape("opt-tiny-350m"), registry.shape("opt-tiny")
    assert forward_flops(narrow, 1, 0, 0) - forward_flops(plain, 1, 0, 0) == 2 * 16 * 32
    assert forward_flops(narrow, 0, 0, 1) == 2 * (16 * 32 + 16 * 512)


def test_an_unknown_vocabulary_size_is_refused():
    with pytest.raises(ValueError, match="vocab_size: 0"):
        forward_flops(registry.shape("bloom-tiny", vocab_size=0), 1, 1, 1)
