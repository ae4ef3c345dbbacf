"""FLOPs of one matrix product, convolution or attention kernel."""

import itertools
import math
import re
from collections.abc import Mapping

from teacherlm_jax.planning.hlo import Computation, Instruction

# Matrix products of each splash attention kernel: (number with key width, number with value width).
_KERNELS = {"splash_mha_fwd": (1, 1), "splash_mha_dq": (2, 1), "splash_mha_dkv": (2, 2)}


def product_flops(instruction: Instruction, computation: Computation) -> int:
    """Return the FLOPs of a matrix product or convolution, two per multiply-add; else 0."""
    if instruction.opcode == "dot":
        left = computation.instructions[instruction.operands[0]].arrays[0].dims
        summed = math.prod(left[dim] for dim in instruction.numbers("lhs_contracting_dims"))
        return 2 * math.prod(instruction.arrays[0].dims) * summed
    if instruction.opcode == "convolution":
        return _convolution_flops(instruction, computation)
    return 0


def _convolution_flops(instruction: Instruction, computation: Computation) -> int:
    """Return the FLOPs of a convolution, without those on padding and dilation zeros.

    On TPUs, XLA writes matrix products as convolutions, including batched ones.
    """
    left, right = (
        computation.instructions[name].arrays[0].dims for name in instruction.operands[:2]
    )
    out = instruction.arrays[0].dims
    left_dims, right_dims, out_dims = re.split(r"_|->", instruction.attribute("dim_labels"))
    window = _window(instruction.attribute("window"))
    pairs = 1
    for dim in sorted(set(left_dims) & set("0123456789"), key=int):
        lengths = left[left_dims.index(dim)], out[out_dims.index(dim)]
        place = int(dim)
        own = {key: values[place] for key, values in window.items() if place < len(values)}
        pairs *= _pairs(*lengths, own)
    groups = int(instruction.attribute("batch_group_count") or 1)
    channels = right[right_dims.index("i")] * out[out_dims.index("f")]
    return 2 * left[left_dims.index("b")] // groups * channels * pairs


def _window(text: str) -> dict[str, list[str]]:
    """Parse `{size=1x2 pad=0_0x1_1}` into values by name."""
    return {name: values.split("x") for name, values in re.findall(r"(\w+)=([-\w]+)", text)}


def _pairs(inputs: int, outputs: int, window: Mapping[str, str]) -> int:
    """Count pairs of output and kernel element that meet an input element, in one dimension."""
    size, stride = int(window.get("size", 1)), int(window.get("stride", 1))
    inner, outer = int(window.get("lhs_dilate", 1)), int(window.get("rhs_dilate", 1))
    low = int(window.get("pad", "0_0").split("_")[0])
    count = 0
    for place, element in itertools.product(range(outputs), range(size)):
        at = place * stride + element * outer - low
        count += at % inner == 0 and 0 <= at // inner < inputs
    return count


def kernel_flops(instruction: Instruction, computation: Computation) -> int | None:
    """Return the FLOPs of a splash attention kernel; None for any other kernel.

    A kernel is opaque to the compiler. This one visits the pairs of query and key blocks up to the
    diagonal; its first operand, a table of blocks, shows how many blocks there are.
    """
    products = next(
        (_KERNELS[name] for name in _KERNELS if instruction.name.startswith(name)), None
    )
    if products is None:
        return None
    table, _, queries, _, values = (
        computation.instructions[name].arrays[0].dims for name in instruction.operands[:5]
    )
    blocks, length = table[-1], queries[-2]
    pairs = math.prod(queries[:-1]) * length * (blocks + 1) // (2 * blocks)
    return 2 * pairs * (products[0] * queries[-1] + products[1] * values[-1])
