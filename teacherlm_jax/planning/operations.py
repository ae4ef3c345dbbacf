"""Floating-point operations of one matrix product, convolution or attention kernel."""

import itertools
import math
import re
from collections.abc import Mapping

from teacherlm_jax.planning.hlo import Computation, Instruction

# Products of a splash attention kernel: how many are as wide as the keys, how many as the values.
_KERNELS = {"splash_mha_fwd": (1, 1), "splash_mha_dq": (2, 1), "splash_mha_dkv": (2, 2)}


def of_product(each: Instruction, around: Computation) -> int:
    """A multiplication and an addition are two; anything but products counts nothing."""
    if each.opcode == "dot":
        left = around.instructions[each.operands[0]].arrays[0].dims
        summed = math.prod(left[dim] for dim in each.numbers("lhs_contracting_dims"))
        return 2 * math.prod(each.arrays[0].dims) * summed
    if each.opcode == "convolution":
        return _of_convolution(each, around)
    return 0


def _of_convolution(each: Instruction, around: Computation) -> int:
    """Every product of two numbers that are there: what pads or stretches an input is not.

    XLA for TPUs writes its matrix products, those of batches too, as convolutions.
    """
    left, right = (around.instructions[name].arrays[0].dims for name in each.operands[:2])
    out = each.arrays[0].dims
    left_dims, right_dims, out_dims = re.split(r"_|->", each.attribute("dim_labels"))
    window = _window(each.attribute("window"))
    pairs = 1
    for dim in sorted(set(left_dims) & set("0123456789"), key=int):
        lengths = left[left_dims.index(dim)], out[out_dims.index(dim)]
        place = int(dim)
        own = {key: values[place] for key, values in window.items() if place < len(values)}
        pairs *= _pairs(*lengths, own)
    groups = int(each.attribute("batch_group_count") or 1)
    channels = right[right_dims.index("i")] * out[out_dims.index("f")]
    return 2 * left[left_dims.index("b")] // groups * channels * pairs


def _window(text: str) -> dict[str, list[str]]:
    """`{size=1x2 pad=0_0x1_1}` as sizes by name."""
    return {name: values.split("x") for name, values in re.findall(r"(\w+)=([-\w]+)", text)}


def _pairs(inputs: int, outputs: int, window: Mapping[str, str]) -> int:
    """Pairs of output and kernel element that meet an input element, along one dimension."""
    size, stride = int(window.get("size", 1)), int(window.get("stride", 1))
    inner, outer = int(window.get("lhs_dilate", 1)), int(window.get("rhs_dilate", 1))
    low = int(window.get("pad", "0_0").split("_")[0])
    count = 0
    for place, element in itertools.product(range(outputs), range(size)):
        at = place * stride + element * outer - low
        count += at % inner == 0 and 0 <= at // inner < inputs
    return count


def of_kernel(each: Instruction, around: Computation) -> int | None:
    """Of a call of a splash attention kernel; None for kernels of which nothing is known.

    A kernel is opaque to the compiler. This one visits the pairs of query and key blocks up to the
    diagonal; how many blocks there are shows in the table of them that it reads.
    """
    products = next((_KERNELS[name] for name in _KERNELS if each.name.startswith(name)), None)
    if products is None:
        return None
    table, _, queries, _, values = (
        around.instructions[name].arrays[0].dims for name in each.operands[:5]
    )
    blocks, length = table[-1], queries[-2]
    pairs = math.prod(queries[:-1]) * length * (blocks + 1) // (2 * blocks)
    return 2 * pairs * (products[0] * queries[-1] + products[1] * values[-1])
