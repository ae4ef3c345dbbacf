"""Check of explanations of generated samples."""

import dataclasses

from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.data.synthetic.families import solve
from teacherlm_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Result of a check: `reason` says what is wrong with the text; it is empty if `ok`."""

    ok: bool
    reason: str


def check(sample: Sample, kind: str, text: str) -> Verdict:
    """Check whether a text is a correct explanation, in any wording of the sample's family.

    The facts are parsed from the sample's question; its own explanations are not used and may be
    missing. White space is ignored, but every word and number counts. Raises UserError for an
    unknown kind and for a sample that was not generated.
    """
    if kind not in KINDS:
        raise UserError(f"unknown kind of explanation {kind!r}; expected one of {', '.join(KINDS)}")
    accepted = solve(sample).explanations(kind)
    words = text.split()
    correct = [candidate.split() for candidate in accepted]
    if words in correct:
        return Verdict(True, "")
    if not words:
        return Verdict(False, "empty")
    return Verdict(False, _first_error(words, correct))


def _first_error(words: list[str], correct: list[list[str]]) -> str:
    """Describe the first difference to the correct text with the longest common prefix."""
    shared = max(_shared_length(words, candidate) for candidate in correct)
    after = f"after {' '.join(words[:shared])!r}" if shared else "at the start"
    actual = repr(words[shared]) if shared < len(words) else "the end"
    expected = {
        repr(candidate[shared]) if shared < len(candidate) else "the end"
        for candidate in correct
        if candidate[:shared] == words[:shared]
    }
    return f"{after}: expected {' or '.join(sorted(expected))}, got {actual}"


def _shared_length(words: list[str], others: list[str]) -> int:
    """Return the number of equal words at the start."""
    same = [word == other for word, other in zip(words, others, strict=False)]
    return [*same, False].index(False)
