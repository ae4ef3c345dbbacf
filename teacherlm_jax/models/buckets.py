"""Sizes rounded up to a few buckets, so that a model is compiled for few shapes."""


def power_of_two(number: int, smallest: int = 1) -> int:
    """Return the smallest power of two that is at least `number` and at least `smallest`.

    `number` is positive; `smallest` is a power of two itself.
    """
    return max(smallest, 1 << (number - 1).bit_length())


def half_step(number: int, smallest: int) -> int:
    """Return the smallest 2^n or 1.5 * 2^n that is at least `number` and at least `smallest`.

    These buckets waste less padding than powers of two and are twice as many. `smallest` is a power
    of two.
    """
    power = power_of_two(number, smallest)
    between = power * 3 // 4
    return between if between >= max(number, smallest) else power
