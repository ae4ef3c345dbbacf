"""Gates: checks of one generated explanation, each passed or failed.

A verdict never removes an explanation. It is recorded beside it, and `prepare` with `checked_only`
leaves out what failed.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable

from teacherlm_jax.annotation import conclusion
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.prompts import TRIGGERS
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError

_REPEATED_WORDS = 4
_REPETITION_LIMIT = 4  # occurrences of the same four words in a row in one text

_NEXT_QUESTION = re.compile(r"\bQ:")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateInput:
    """An explanation and what it explains.

    Attributes:
        sample: the explained sample.
        kind: kind of the explanation, one of `data.sample.KINDS`.
        text: the explanation, stripped.
        finish_reason: "eos" if the teacher ended the text, "length" if max_new_tokens did.
    """

    sample: Sample
    kind: str
    text: str
    finish_reason: str


def finished(explained: GateInput) -> bool:
    """Return whether the teacher ended the text itself."""
    return explained.finish_reason == "eos"


def not_empty(explained: GateInput) -> bool:
    """Return whether the text holds more than white space."""
    return bool(explained.text.strip())


def concludes_answer(explained: GateInput) -> bool:
    """Return whether a chain of thought does not contradict the given answer.

    Only a stated conclusion is judged (see `annotation.conclusion`): the last "the answer is …", or
    a last sentence that ends in an option's letter or, after a word like "so", in its text. A text
    without one passes, as does any other kind of explanation, which may well name wrong answers.
    """
    return explained.kind != "cot" or not conclusion.contradicts(explained.sample, explained.text)


def no_other_trigger(explained: GateInput) -> bool:
    """Return whether the text stops before another kind of explanation or another question."""
    others = (trigger for kind, trigger in TRIGGERS.items() if kind != explained.kind)
    return not _NEXT_QUESTION.search(explained.text) and not any(
        trigger.strip() in explained.text for trigger in others
    )


def no_repetition(explained: GateInput) -> bool:
    """Return whether no four words in a row occur more than four times, as they do in a loop."""
    words = explained.text.split()
    runs = zip(*(words[start:] for start in range(_REPEATED_WORDS)), strict=False)
    return max(Counter(runs).values(), default=0) <= _REPETITION_LIMIT


def synthetic_check(explained: GateInput) -> bool:
    """Return whether the text is right by the rules that generated the sample.

    Only generated samples can be judged.
    """
    return synthetic.check(explained.sample, explained.kind, explained.text).ok


GATES: dict[str, Callable[[GateInput], bool]] = {
    "finished": finished,
    "not_empty": not_empty,
    "concludes_answer": concludes_answer,
    "no_other_trigger": no_other_trigger,
    "no_repetition": no_repetition,
    "synthetic": synthetic_check,
}


def verdicts(names: Iterable[str], explained: GateInput) -> dict[str, bool]:
    """Return the verdict of each named gate."""
    return {name: GATES[name](explained) for name in names}


def require_usable(names: Iterable[str], samples: Iterable[Sample]) -> None:
    """Raise UserError if one of the named gates cannot judge one of the samples."""
    if "synthetic" not in names:
        return
    for sample in samples:
        try:
            synthetic.check(sample, KINDS[0], "")
        except UserError as error:
            raise UserError(
                f"config.gates: the gate 'synthetic' judges only generated samples; {error}; or "
                "remove 'synthetic' from config.gates"
            ) from None
