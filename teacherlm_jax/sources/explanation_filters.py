"""Filters that leave out explanations: those that failed a gate, and placeholders."""

import dataclasses
from collections.abc import Callable

from teacherlm_jax.data.sample import Sample

_PLACEHOLDERS = frozenset(
    [
        *(
            "",
            "n/a",
            "na",
            "n.a",
            "none",
            "null",
            "nil",
            "nan",
            "-",
            "--",
            "---",
            "–",
            "—",
            "?",
            "_",
        ),
        *("tbd", "todo", "empty", "unknown", "not available", "not applicable", "no explanation"),
        *("no explanation available", "no explanation provided"),
    ]
)


def is_placeholder(text: str) -> bool:
    """Return whether a text only says that there is none, such as "n/a", "None." or "-".

    Case, white space, and brackets, quotes and full stops at the ends are ignored. A blank text is
    not a placeholder.
    """
    plain = " ".join(text.casefold().split())
    return bool(plain) and plain.strip(" .!…()[]<>\"'") in _PLACEHOLDERS


def without_placeholders(sample: Sample) -> Sample:
    """Return the sample without explanations that are placeholders."""
    return _keeping(sample, lambda kind, author, text: not is_placeholder(text))


def without_failed(sample: Sample) -> Sample:
    """Return the sample without explanations that failed a gate, according to its annotations.

    Explanations without verdicts, such as those by people, are kept.
    """
    failed = {
        (kind, annotation["author"])
        for kind, annotation in sample.annotations.items()
        if not all(annotation["gates"].values())
    }
    return _keeping(sample, lambda kind, author, text: (kind, author) not in failed)


def _keeping(sample: Sample, keep: Callable[[str, str, str], bool]) -> Sample:
    explanations = {
        kind: {author: text for author, text in texts.items() if keep(kind, author, text)}
        for kind, texts in sample.explanations.items()
    }
    if explanations == sample.explanations:
        return sample
    return dataclasses.replace(sample, explanations=explanations)
