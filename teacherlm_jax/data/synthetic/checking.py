"""Says whether an explanation of a generated sample is right."""

import dataclasses

from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.data.synthetic.families import solve
from teacherlm_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a text is right, and if not, what is wrong with it."""

    ok: bool
    reason: str


def check(sample: Sample, kind: str, text: str) -> Verdict:
    """Accepts the text when it is a true explanation of that kind, in any of the family's wordings.

    The facts are read from the sample's question; its own explanations are not looked at and may be
    absent. White space is normalised; every word and number counts. Raises UserError for an unknown
    kind and for a sample that no family made.
    """
    if kind not in KINDS:
        raise UserError(f"kind of explanation {kind!r}; the kinds are {', '.join(KINDS)}")
    accepted = solve(sample).explanations(kind)
    words = text.split()
    true_words = [candidate.split() for candidate in accepted]
    if words in true_words:
        return Verdict(True, "")
    if not words:
        return Verdict(False, "empty")
    return Verdict(False, _first_fault(words, true_words))


def _first_fault(words: list[str], true_words: list[list[str]]) -> str:
    """Where the text leaves the true text that it follows longest."""
    shared = max(_shared_length(words, candidate) for candidate in true_words)
    after = f"after {' '.join(words[:shared])!r}" if shared else "at the start"
    found = repr(words[shared]) if shared < len(words) else "the end"
    wanted = {
        repr(candidate[shared]) if shared < len(candidate) else "the end"
        for candidate in true_words
        if candidate[:shared] == words[:shared]
    }
    return f"{after} stands {found} where {' or '.join(sorted(wanted))} is true"


def _shared_length(words: list[str], others: list[str]) -> int:
    """How many words at the start are the same."""
    same = [word == other for word, other in zip(words, others, strict=False)]
    return [*same, False].index(False)
