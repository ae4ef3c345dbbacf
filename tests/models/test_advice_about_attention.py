"""Advice in error messages about attention, which works when it is followed."""

import inspect
import re

import jax.numpy as jnp
import pytest

import teacherlm_jax
from teacherlm_jax.config import AnnotateConfig, EvaluateConfig, ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models.attention import attention
from teacherlm_jax.models.attention_fused import LONGEST


def attend(implementation, length):
    x, tokens = jnp.ones((1, length, 1, 4)), jnp.zeros((1, length), jnp.int32)
    return attention(
        *(x, x, x),
        alibi_slopes=None,
        positions=tokens,
        segment_ids=tokens,
        implementation=implementation,
    )


def test_rows_are_computed_with_the_attention_that_a_message_names():
    with pytest.raises(UserError) as raised:
        attend("fused", 128)
    name = re.search(
        r"; choose '(\w+)' \(the key is config\.attention in annotate", str(raised.value)
    )
    assert attend(name[1], 128).shape == (1, 128, 1, 4)


def test_long_rows_have_the_same_advice_and_the_keys_exist():
    with pytest.raises(UserError) as raised:
        attend("fused", LONGEST + 1)
    assert (
        "; choose 'blockwise' (the key is config.attention in annotate and evaluate, the argument "
        "is attention in teacherlm_jax.load)"
    ) in str(raised.value)
    assert ModelConfig(attention="blockwise").attention == "blockwise"
    for kind in (AnnotateConfig, EvaluateConfig):
        assert "attention" in kind.__dataclass_fields__
    assert "attention" in inspect.signature(teacherlm_jax.load).parameters
