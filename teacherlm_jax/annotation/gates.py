"""Gates: yes-or-no questions about one explanation, asked once it is written.

A verdict never removes a text. It is filed with it, and whoever trains on the texts decides.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable

from teacherlm_jax.data import synthetic
from teacherlm_jax.data.prompts import TRIGGERS
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError

REPEATED_WORDS = 4
REPETITION_LIMIT = 4  # times that the same four words may follow each other in one text

_NEXT_QUESTION = re.compile(r"\bQ:")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateInput:
    """What a gate may look at.

    Attributes:
        sample: the one that was explained.
        kind: of the explanation, one of `data.sample.KINDS`.
        text: the explanation, stripped.
        finish_reason: "eos" when the teacher ended it, "length" when it was cut.
    """

    sample: Sample
    kind: str
    text: str
    finish_reason: str


def finished(given: GateInput) -> bool:
    """The teacher ended the text itself."""
    return given.finish_reason == "eos"


def not_empty(given: GateInput) -> bool:
    """There is a text."""
    return bool(given.text.strip())


def no_other_trigger(given: GateInput) -> bool:
    """The text runs neither into another kind of explanation nor into another question."""
    others = (trigger for kind, trigger in TRIGGERS.items() if kind != given.kind)
    return not _NEXT_QUESTION.search(given.text) and not any(
        trigger.strip() in given.text for trigger in others
    )


def no_repetition(given: GateInput) -> bool:
    """No four words in a row occur more than four times, as they do when a model is in a loop."""
    words = given.text.split()
    runs = zip(*(words[start:] for start in range(REPEATED_WORDS)), strict=False)
    return max(Counter(runs).values(), default=0) <= REPETITION_LIMIT


def synthetic_check(given: GateInput) -> bool:
    """The text is right, by the rules that generated the sample; for generated samples only."""
    return synthetic.check(given.sample, given.kind, given.text).ok


GATES: dict[str, Callable[[GateInput], bool]] = {
    "finished": finished,
    "not_empty": not_empty,
    "no_other_trigger": no_other_trigger,
    "no_repetition": no_repetition,
    "synthetic": synthetic_check,
}


def verdicts(names: Iterable[str], given: GateInput) -> dict[str, bool]:
    """The verdict of each named gate."""
    return {name: GATES[name](given) for name in names}


def require_usable(names: Iterable[str], samples: Iterable[Sample]) -> None:
    """Raises UserError when one of the named gates cannot judge one of these samples."""
    if "synthetic" not in names:
        return
    for sample in samples:
        try:
            synthetic.check(sample, KINDS[0], "")
        except UserError as error:
            raise UserError(
                f"config.gates: the gate 'synthetic' judges generated samples only; {error}; or "
                "leave the gate out"
            ) from None
