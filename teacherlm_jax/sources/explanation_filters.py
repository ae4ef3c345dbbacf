"""Filters that leave out explanations: those that failed a gate, and placeholders."""

import dataclasses
import re
from collections.abc import Callable

from teacherlm_jax.data.sample import Sample

_PLACEHOLDERS = frozenset(  # in lower case, without the characters of _ENDS at their ends
    (
        *("", "n/a", "na", "n.a", "none", "null", "nil", "nan", "–", "—", "xxx", "tbd"),
        *(
            "todo",
            "to do",
            "to be done",
            "to be added",
            "fixme",
            "placeholder",
            "empty",
            "unknown",
            "no answer",
        ),
        *("not available", "not applicable", "no explanation", "no explanation available"),
        *("no explanation provided", "explanation", "rationale", "reason", "redacted"),
        *("coming soon", "see above", "see below", "same as above", "same as before", "as above"),
        *("i don't know", "i do not know", "idk", "no comment"),
    )
)
_PLACE = re.compile(
    r"(todo|tbd|fixme)\s*[:(–-].{,60}|lorem ipsum.*"
    r"|((insert|add|write|enter|put|type|fill in|provide) )?((the|your|an|my|some) )?"
    r"(explanation|rationale|reasoning|answer|text|chain of thought)"
    r"( (goes|comes|will|here|later|to come|to follow|(to )?be added|missing|pending|needed))+"
    r"|(i have|there is) no (explanation|rationale|reasoning)"
    r"|(insert|add|write|enter|put|type|provide) ((the|your|an|my|some) )?"
    r"(explanation|rationale|reasoning|chain of thought)"
)
_ENDS = " .!?…:()[]{}<>\"'*_-`"


def is_placeholder(text: str) -> bool:
    """Return whether a text only holds a place, such as "n/a", "None." or "TODO: explain".

    Others are "explanation goes here" and "lorem ipsum …". Case, white space, and brackets, quotes,
    dashes and full stops at the ends are ignored. A blank text is not a placeholder.
    """
    plain = " ".join(text.casefold().split())
    inner = plain.strip(_ENDS)
    return bool(plain) and (inner in _PLACEHOLDERS or bool(_PLACE.fullmatch(inner)))


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
