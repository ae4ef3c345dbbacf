"""Explained samples in full, as a notebook shows them or `print` writes them."""

import dataclasses

from etils import epath

from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.report.console_summary import sample_text
from teacherlm_jax.report.examples import Example, examples
from teacherlm_jax.report.explanations import KIND_NAMES, verdict
from teacherlm_jax.report.page import markdown_line
from teacherlm_jax.runs import layout
from teacherlm_jax.storage.paths import StoragePath


@dataclasses.dataclass(frozen=True)
class ShownSamples:
    """Samples of an annotation run: Markdown as the value of a notebook's cell, text if printed."""

    examples: tuple[Example, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(sample_text, self.examples))

    def _repr_markdown_(self) -> str:  # IPython's name
        return "\n\n---\n\n".join(map(_markdown, self.examples))


def shown_samples(run: epath.PathLike, count: int) -> ShownSamples:
    """Return up to `count` samples of an annotation run, spread evenly over its sources.

    Raises UserError if `count` is not positive, or if the run has no explained sample.
    """
    if count < 1:
        raise UserError(f"count={count}: expected at least 1")
    chosen = examples(StoragePath(run) / layout.SAMPLES, count)
    if not chosen:
        raise UserError(
            f"{run}: no explained samples; name the run folder of an annotation that has written "
            "some"
        )
    return ShownSamples(tuple(chosen))


def _markdown(example: Example) -> str:
    question, answer = markdown_line(example.question), markdown_line(example.answer)
    lines = [f"**Question:** {question}", f"**Answer:** {answer}"]
    for kind in KINDS:
        if kind in example.written:
            text, gates = example.written[kind]
            shown = markdown_line(text) or "(empty)"
            lines.append(f"> *{KIND_NAMES[kind]}* ({verdict(gates)}): {shown}")
    return "\n\n".join(lines)
