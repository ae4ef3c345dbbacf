"""Numbers as the page writes them."""


def count(number: int) -> str:
    """1234567 as `1,234,567`."""
    return f"{number:,}"


def rounded(number: float, digits: int) -> str:
    """A number with this many decimals, and commas before them."""
    return f"{number:,.{digits}f}"


def percent(share: float) -> str:
    """0.5432 as `54.3`."""
    return f"{100 * share:.1f}"


def interval(low: float, high: float) -> str:
    """0.51, 0.58 as `51.0 to 58.0`."""
    return f"{percent(low)} to {percent(high)}"
