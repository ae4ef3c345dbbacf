"""What `teacherlm plan` is told beside the config whose work it plans."""

import dataclasses

from teacherlm_jax.config.fields import at_least, required


@dataclasses.dataclass
class PlanOptions:
    """The slice to plan for, and what its data and teachers would tell if they were here."""

    topology: str = required()  # such as v5e:8x8 or v5p:4x4x8
    # tokens of a packed row, or of the longest prompt; 0: as data or config say, else 2048
    length: int = at_least(0, 0)
    model: str = ""  # of an annotation: a published shape, such as bloom-7b1; empty: the teacher's
    advise: bool = False  # where it does not fit, compile what would be advised until one fits
