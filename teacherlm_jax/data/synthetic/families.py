"""Families of generated problems, by the name in a sample's source."""

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
    """Return the `source` of samples of a family."""
    return _SOURCE + family


def solve(sample: Sample) -> Solution:
    """Solve a generated sample from its question alone.

    Raises UserError if the sample's source is not a family, if the question is not one of that
    family, and if the options or the answer differ from the solution.
    """
    family = FAMILIES.get(sample.source.removeprefix(_SOURCE))
    if family is None or not sample.source.startswith(_SOURCE):
        known = ", ".join(source_of(name) for name in FAMILIES)
        raise UserError(
            f"sample {sample.id}: source is {sample.source!r}, expected a generated sample, whose "
            f"source is one of {known}"
        )
    try:
        solution = family.parse(sample.question).solve()
    except (ValueError, LookupError) as error:
        raise UserError(
            f"sample {sample.id}: the question does not belong to {sample.source}: {error}; "
            "generate the dataset again"
        ) from None
    if sample.options != solution.options:
        raise UserError(
            f"sample {sample.id}: options are {sample.options}, expected {solution.options}; "
            "generate the dataset again"
        )
    answer = sample.options[sample.answer_index]
    if answer != solution.answer:
        raise UserError(
            f"sample {sample.id}: answer is {answer!r}, expected {solution.answer!r}; "
            "generate the dataset again"
        )
    return solution
