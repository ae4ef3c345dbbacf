"""Sizes that many texts share, so that few programs are compiled for them."""


def power_of_two(number: int, smallest: int = 1) -> int:
    """The smallest power of two that is at least `number`, and no less than `smallest`.

    `number` is positive; `smallest` is a power of two itself.
    """
    return max(smallest, 1 << (number - 1).bit_length())
