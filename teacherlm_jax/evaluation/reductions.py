"""The score of an option, from the log-probabilities of its tokens.

"mean" is equation 1 of TeacherLM (arXiv 2310.19019). "bytes" is `acc_bytes` of
lm-evaluation-harness, and for ASCII texts its `acc_norm`, which counts characters. "unconditional"
is the pointwise mutual information of context and option (arXiv 2104.08315), its
`acc_mutual_info`.
"""

import dataclasses

from teacherlm_jax.config.names import REDUCTIONS


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptionLikelihood:
    """Log-probability of an option's text after its context, and the sizes of that text.

    Attributes:
        total: sum of the log-probabilities of its tokens, in nats.
        tokens: number of tokens.
        bytes: number of bytes of the text in UTF-8, without the space that precedes it.
        unconditional: `total` after a prompt without the question; None if it was not computed.
    """

    total: float
    tokens: int
    bytes: int
    unconditional: float | None = None

    def score(self, reduction: str) -> float:
        """Return the score by a reduction, one of `names.REDUCTIONS`, in nats."""
        if reduction == "mean":
            return self.total / self.tokens
        if reduction == "sum":
            return self.total
        if reduction == "bytes":
            return self.total / self.bytes
        if reduction == "unconditional" and self.unconditional is not None:
            return self.total - self.unconditional
        raise ValueError(f"reduction {reduction!r}; expected one of {REDUCTIONS}")

    def scores(self) -> dict[str, float]:
        """Return the score by every reduction that can be computed."""
        known = REDUCTIONS if self.unconditional is not None else REDUCTIONS[:-1]
        return {reduction: self.score(reduction) for reduction in known}


def text_bytes(option: str) -> int:
    """Return the number of bytes of an option's text, without the space that precedes it.

    A lone space counts as one byte.
    """
    return len(option.removeprefix(" ").encode()) or 1
