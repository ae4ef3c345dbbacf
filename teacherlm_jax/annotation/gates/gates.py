"""Gates: checks of one generated explanation, each passed or failed.

A verdict never removes an explanation. It is recorded beside it, and `prepare` with `checked_only`
leaves out what failed.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from teacherlm_jax.annotation.gates import conclusion, text_faults
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.prompts import TRIGGERS
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.explanation_filters import is_placeholder

_COPIED_LIMIT = 0.9  # share of the words

_NEXT_QUESTION = re.compile(r"\bQ:")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateInput:
    """An explanation and what it explains.

    Attributes:
        sample: the explained sample.
        kind: kind of the explanation, one of `data.sample.KINDS`.
        text: the explanation, stripped.
        finish_reason: "eos" if the teacher ended the text, "stop" if a stop string did, "length"
            if max_new_tokens did, "refused" if a server did not write one.
    """

    sample: Sample
    kind: str
    text: str
    finish_reason: str


def finished(explained: GateInput) -> bool:
    """Return whether the teacher or a stop string ended the text."""
    return explained.finish_reason in ("eos", "stop")


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
    """Return whether the text does not loop (see `text_faults.repeats_itself`)."""
    return not text_faults.repeats_itself(explained.text)


def no_garbage(explained: GateInput) -> bool:
    """Return whether the text has no broken characters and is not mostly symbols."""
    return not text_faults.is_garbled(explained.text)


def same_script(explained: GateInput) -> bool:
    """Return whether the letters of the text belong to the scripts of question and answer."""
    sample = explained.sample
    own = " ".join((sample.question, *(sample.options or (sample.answer,))))
    return not text_faults.is_foreign(explained.text, own)


def no_placeholder(explained: GateInput) -> bool:
    """Return whether the text is more than a placeholder, such as "N/A" or "TODO"."""
    return not is_placeholder(explained.text)


def not_copied(explained: GateInput) -> bool:
    """Return whether the text says more than question, options and answer.

    It fails if over 90% of its words are in sequences of three words that the prompt has, too.
    """
    pieces = prompts.explanation_pieces(explained.sample, explained.kind)[:-1]  # without trigger
    prompt = "".join(piece.text for piece in pieces)
    return text_faults.copied_share(explained.text, prompt) <= _COPIED_LIMIT


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
    "no_garbage": no_garbage,
    "same_script": same_script,
    "no_placeholder": no_placeholder,
    "not_copied": not_copied,
    "synthetic": synthetic_check,
}


def verdicts(names: Iterable[str], explained: GateInput) -> dict[str, bool]:
    """Return the verdict of each named gate that judges an explanation by its text alone."""
    return {name: GATES[name](explained) for name in names if name in GATES}


def with_verdict(
    names: Sequence[str], verdicts: Mapping[str, bool], gate: str, verdict: bool | None
) -> dict[str, bool]:
    """Return verdicts with that of one more gate, in the order of `names`; None adds nothing."""
    known = verdicts if verdict is None else {**verdicts, gate: verdict}
    return {name: known[name] for name in names if name in known}


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
