import itertools
import math

import jax
import numpy as np
import pytest

from benchmarks import pairs
from teacherlm_jax.checkpoints.fingerprint import named_leaves
from teacherlm_jax.hf import tensor_names
from teacherlm_jax.hf.tensor_names import TensorSlot

KERNEL = TensorSlot("w", "w/kernel", (6, 4, 5), inputs=1)
MIXED = TensorSlot("w", "w/kernel", (4, 5, 6), inputs=2)
BIAS = TensorSlot("b", "w/bias", (4, 5))
TABLE = TensorSlot("e", "embedding", (6, 5), inputs=None)


def prefixed(config, slot):
    return (
        slot.name
        if slot.name == tensor_names.HEAD
        else tensor_names.PREFIXES[config.family] + slot.name
    )


def test_names_shapes_and_order_match_transformers(pair):
    actual = {
        prefixed(pair.config, slot): slot.stored_shape for slot in tensor_names.slots(pair.config)
    }
    expected = {name: tuple(value.shape) for name, value in pair.reference.state_dict().items()}
    if pair.config.tied:  # a state dict lists the head, a file leaves it out
        del expected[tensor_names.HEAD]
    assert list(actual.items()) == list(expected.items())


def test_the_slots_cover_all_parameters(pair):
    """Compare with the mapping of the parity benchmark, which was written independently."""
    weights = {name: value.detach().numpy() for name, value in pair.reference.named_parameters()}
    expected = dict(named_leaves(pairs.parameter_tree(pair.config, weights)))
    unseen = {name: np.ones(array.shape, bool) for name, array in expected.items()}
    for slot in tensor_names.slots(pair.config):
        tensor = weights[prefixed(pair.config, slot)]
        whole = tuple(slice(None) for _ in slot.shape)
        at = (() if slot.layer is None else (slot.layer,)) + (
            ...,
            slice(slot.start, slot.start + slot.shape[-1]),
        )
        np.testing.assert_array_equal(expected[slot.parameter][at], slot.from_stored(tensor, whole))
        np.testing.assert_array_equal(slot.to_stored(expected[slot.parameter][at]), tensor)
        assert unseen[slot.parameter][at].all(), (
            f"{slot.name} covers a part that another slot covers"
        )
        unseen[slot.parameter][at] = False
    assert not any(jax.tree.leaves(jax.tree.map(np.any, unseen)))


@pytest.mark.parametrize("slot", [KERNEL, MIXED, BIAS, TABLE], ids=str)
def test_a_part_of_a_slot_needs_only_its_part_of_the_stored_tensor(slot):
    tensor = np.arange(math.prod(slot.stored_shape)).reshape(slot.stored_shape)
    whole_slot = slot.from_stored(tensor, tuple(slice(None) for _ in slot.shape))
    np.testing.assert_array_equal(slot.to_stored(whole_slot), tensor)
    cuttable = {0, slot.inputs or 0} if slot.inputs is not None else {0, 1}
    choices = [
        [slice(None), slice(0, size // 2), slice(size // 2, size)]
        if axis in cuttable
        else [slice(None)]
        for axis, size in enumerate(slot.shape)
    ]
    for index in itertools.product(*choices):
        part = slot.from_stored(tensor[slot.stored_index(index)], index)
        np.testing.assert_array_equal(part, whole_slot[index])


def test_slicing_an_axis_inside_a_stored_axis_raises():
    with pytest.raises(ValueError, match="slices an axis inside"):
        MIXED.stored_index((slice(None), slice(0, 2), slice(None)))
