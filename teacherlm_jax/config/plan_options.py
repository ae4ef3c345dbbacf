"""Command-line options of `teacherlm plan`, given in addition to the config to plan."""

import dataclasses

from teacherlm_jax.config.fields import at_least, plain, required


@dataclasses.dataclass
class PlanOptions:
    """The slice to plan for, and facts about data and teachers that do not exist."""

    topology: str = required(help="TPU slice to plan for, such as v5e:8x8 or v5p:4x4x8")
    length: int = at_least(
        0,
        0,
        help="tokens of a packed row, or of the longest prompt; 0: from the data or the config if "
        "they have it, else 2048",
    )
    model: str = plain(
        "",
        help="for an annotation whose teacher does not exist: published model shape, such as "
        "bloom-7b1; empty: the teacher's",
    )
    rows: int = at_least(
        0,
        0,
        help="for an annotation: number of rows of the dataset, for the hours that they take; "
        "0: only the speed",
    )
    advise: bool = plain(
        False, help="if it does not fit, compile suggested settings until one fits"
    )
