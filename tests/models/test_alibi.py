"""ALiBi slopes, compared with transformers."""

import numpy as np
import pytest

from teacherlm_jax.models import alibi


@pytest.mark.parametrize("heads", [1, 4, 8, 12, 16, 32, 112])
def test_slopes_match_transformers(heads, torch):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    # [heads, 1, 2]: slope times position
    bias = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)
    np.testing.assert_allclose(alibi.slopes(heads), bias[:, 0, 1].numpy(), rtol=1e-6)


def test_slopes_of_a_power_of_two_are_a_geometric_series():
    np.testing.assert_array_equal(alibi.slopes(4), [2**-2, 2**-4, 2**-6, 2**-8])
