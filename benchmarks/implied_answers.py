"""The options that explanations of generated samples lead to, read from their text.

A text has statements and may have a conclusion, such as "so the answer is True". Both are read as
if they were about the sample: what a text states takes the place of what the question says, and the
question says the rest. Names of people, events and containers do not count, except where they are
the options.
"""

import dataclasses
import re

from teacherlm_jax.data.sample import Sample
from teacherlm_jax.data.synthetic import families
from teacherlm_jax.data.synthetic.facts import TRUE_FALSE, Facts

_CONCLUSION = re.compile(r"(?:, (?:so|and the answer is)|\. So) [^.]*\.$")
_ORDERS = (
    r"(?P<early>\w+) comes before (?P<late>\w+)",
    r"(?P<late>\w+) comes \d days? after (?P<early>\w+)",
)


def without_conclusion(text: str) -> str:
    """Return a generated chain of thought without the words that state its answer."""
    return _CONCLUSION.sub(".", text)


def concluded(sample: Sample, text: str) -> str | None:
    """Return the option that a chain of thought concludes; None if it does not name one option."""
    conclusion = _CONCLUSION.search(text)
    words = conclusion.group() if conclusion else ""
    named = [option for option in sample.options if re.search(rf"\b{option}\b", words)]
    return named[0] if len(named) == 1 else None


def implied(sample: Sample, kind: str, text: str) -> str | None:
    """Return the option that follows from the statements of an explanation; None if none does.

    Args:
        sample: a generated sample.
        kind: "cot" or "fundamental".
        text: an explanation of any sample of the same family; a conclusion is ignored.
    """
    family = sample.source.rpartition("/")[2]
    facts = families.FAMILIES[family].parse(sample.question)
    if kind == "cot":
        text = without_conclusion(text)
    if family in ("months", "weekdays"):
        option = _in_order(sample, facts, kind, text)
    elif family in ("seasons", "kinds"):
        option = _named(facts, text)
    elif family in ("chain", "membership"):
        option = _by_facts(facts, text)
    else:
        option = _more_than(facts, kind, text)
    return option if option in sample.options else None


def _in_order(sample: Sample, facts: Facts, kind: str, text: str) -> str | None:
    """Return who or what is first, by the two dates that a text orders."""
    order = next(match for pattern in _ORDERS if (match := re.search(pattern, text)))
    early, late = order["early"], order["late"]
    if kind == "cot":  # it names who was born, or what is, on the earlier date
        who = re.search(rf"(?:(\w+) was born in|\b[Tt](he \w+) is on) {early}\b", text)
        return None if who is None else who[1] or f"t{who[2]}"
    dates = [vars(facts)[name] for name in ("one", "other")]
    if early in dates:
        return sample.options[dates.index(early)]
    return sample.options[1 - dates.index(late)] if late in dates else None


def _named(facts: Facts, text: str) -> str | None:
    """Return the season that a text names, or the kind of the thing that it names."""
    if season := re.search(r"(?:a month of|In the north) (\w+)", text):
        return season[1]
    thing = re.search(r"(?:^|\. )(An? \w+) ", text)
    return None if thing is None else _solved(facts, thing=thing[1].lower())


def _by_facts(facts: Facts, text: str) -> str | None:
    """Return what follows from a relation or from a content of three sorts."""
    if held := re.search(r"(?:holds|but) (\w+), (\w+) and (\w+)\.", text):
        return _solved(facts, one=held[1], two=held[2], three=held[3])
    relation = re.search(r" is (\w+) than ", text)
    return None if relation is None else _solved(facts, relation=relation[1])


def _more_than(facts: Facts, kind: str, text: str) -> str | None:
    """Return whether there are more than the limit, if a text is about the same things.

    A chain of thought compares a number with its own limit; the question's limit has to agree.
    """
    known = vars(facts)
    things = known["small"] if "small" in known else known["things"]
    if kind == "cot":
        found = re.search(rf"(\d+) {things} are (more|fewer) than \d+ {things}\.", text)
        if found is None or (int(found[1]) > known["limit"]) is not (found[2] == "more"):
            return None
        return TRUE_FALSE[found[2] == "fewer"]
    if limit := re.search(rf"^To have more than (\d+) {things} is", text):
        return TRUE_FALSE[known["amount"] <= int(limit[1])]
    result = re.search(rf"(?:makes|{known.get('large')} are) (\d+) {things}\.", text)
    return None if result is None else TRUE_FALSE[int(result[1]) <= known["limit"]]


def _solved(facts: Facts, **changed: str) -> str | None:
    """Return the answer with some facts changed; None if they do not fit together."""
    try:
        return dataclasses.replace(facts, **changed).solve().answer
    except (ValueError, LookupError):
        return None
