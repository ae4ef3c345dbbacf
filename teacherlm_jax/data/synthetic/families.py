"""The families by the name that stands in a sample's source."""

from teacherlm_jax.data.sample import Sample
from teacherlm_jax.data.synthetic.dates import Months, Seasons, Weekdays
from teacherlm_jax.data.synthetic.facts import Facts, Solution
from teacherlm_jax.data.synthetic.quantities import Arithmetic, Comparison, Units
from teacherlm_jax.data.synthetic.relations import Chain, Kinds, Membership
from teacherlm_jax.errors import UserError

FAMILIES: dict[str, type[Facts]] = {
    "arithmetic": Arithmetic,
    "chain": Chain,
    "comparison": Comparison,
    "kinds": Kinds,
    "membership": Membership,
    "months": Months,
    "seasons": Seasons,
    "units": Units,
    "weekdays": Weekdays,
}
_SOURCE = "synthetic/"


def source_of(family: str) -> str:
    """The source that samples of a family carry."""
    return _SOURCE + family


def solve(sample: Sample) -> Solution:
    """Works a generated sample out again from its question, and holds it against its options.

    Raises UserError when the sample's source names no family, or when question, options or answer
    are not as the family makes them.
    """
    family = FAMILIES.get(sample.source.removeprefix(_SOURCE))
    if family is None or not sample.source.startswith(_SOURCE):
        known = ", ".join(source_of(name) for name in FAMILIES)
        raise UserError(
            f"sample {sample.id}: source {sample.source!r} is no generated one, so nothing can be "
            f"checked; the generated sources are {known}"
        )
    try:
        solution = family.parse(sample.question).solve()
    except (ValueError, LookupError) as error:
        raise UserError(
            f"sample {sample.id}: no question of {sample.source}: {error}; generate the set again"
        ) from None
    if sample.options != solution.options:
        raise UserError(
            f"sample {sample.id}: options {sample.options} where its question has "
            f"{solution.options}; generate the set again"
        )
    found = sample.options[sample.answer_index]
    if found != solution.answer:
        raise UserError(
            f"sample {sample.id}: answer {found!r} where {solution.answer!r} is right; "
            f"generate the set again"
        )
    return solution
