"""Explanations of generated samples that lead to the right option, or to a wrong one.

They are for the gate `answer_check`, so each sample has options. An explanation has one of three
FORMS, and a faulty one has one of the FAULTS of its form. As many are faulty as not.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from benchmarks import faulty_texts, implied_answers
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.data.synthetic import families
from teacherlm_jax.data.synthetic.facts import Facts, Solution

_DRAWS = 500  # of other facts, before one more of them may be misread


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of explanations: a kind, and what is left of a text of that kind."""

    kind: str
    shorten: Callable[[str], str] = str

    def text(self, solution: Solution) -> str:
        """Return the explanation of a solution in this form."""
        return self.shorten(solution.explanations(self.kind)[0])


FORMS = {
    "chain of thought": Form("cot"),
    "chain of thought without its conclusion": Form("cot", implied_answers.without_conclusion),
    "fundamental": Form("fundamental"),
}

_Maker = Callable[[random.Random, Sample, Form], str]


class NoFaultyText(ValueError):
    """No explanation of other facts leads to a wrong option of the sample."""


@dataclasses.dataclass(frozen=True)
class JudgedText:
    """An explanation, the name of its form, and that of its fault; empty: it has none."""

    explained: GateInput
    form: str
    fault: str = ""


def _misread(rng: random.Random, sample: Sample, form: Form) -> str:
    """Return the explanation of a question that differs in one fact.

    If no other value of one fact leads to a wrong option, two facts differ, and so on.
    """
    facts = _family(sample).parse(sample.question)
    names = [field.name for field in dataclasses.fields(facts)]
    for draw in range(_DRAWS * len(names)):
        other = _family(sample).draw(rng)
        changed = rng.sample(names, 1 + draw // _DRAWS)
        values = {name: getattr(other, name) for name in changed}
        try:
            solution = dataclasses.replace(facts, **values).solve()
        except (ValueError, LookupError):  # facts that do not fit together
            continue
        if solution.options == sample.options and _misleads(sample, form, form.text(solution)):
            return form.text(solution)
    raise NoFaultyText(f"{sample.id}: no other facts mislead in {sample.question!r}")


def _of_another(rng: random.Random, sample: Sample, form: Form) -> str:
    """Return the explanation of another question of the family."""
    for _ in range(10 * _DRAWS):
        text = form.text(_family(sample).draw(rng).solve())
        if _misleads(sample, form, text):
            return text
    raise NoFaultyText(f"{sample.id}: no other explanation misleads in {sample.question!r}")


def _concluded(rng: random.Random, sample: Sample, form: Form) -> str:
    """Return the right explanation with a wrong option in its conclusion."""
    _, make = faulty_texts.HARDER["argues for a wrong option"]
    return make(rng, sample, form.text(families.solve(sample)))


FAULTS: Mapping[str, Mapping[str, _Maker]] = {
    "chain of thought": {
        "of another sample": _of_another,
        "facts misread": _misread,
        "only the conclusion is wrong": _concluded,
    },
    "chain of thought without its conclusion": {
        "of another sample": _of_another,
        "facts misread": _misread,
    },
    "fundamental": {"of another sample": _of_another, "facts misread": _misread},
}


def _family(sample: Sample) -> type[Facts]:
    return families.FAMILIES[sample.source.rpartition("/")[2]]


def _misleads(sample: Sample, form: Form, text: str) -> bool:
    """Return whether the statements of a text, and its conclusion if any, imply a wrong option."""
    options = {implied_answers.implied(sample, form.kind, text)}
    if form == FORMS["chain of thought"]:
        options.add(implied_answers.concluded(sample, text))
    return not options & {None, sample.options[sample.answer_index]}


def texts(count: int, seed: int, split: str = "test") -> Iterator[JudgedText]:
    """Yield a right and a faulty explanation in each form for each of `count` samples.

    The faults of a form take turns within each family. Samples of which no explanation misleads are
    left out, for example if an amount is already the smallest. Only questions of `split` are
    explained; those of other splits are different.
    """
    rng = random.Random(f"unsupported {seed}")
    sources = [families.source_of(name) for name in families.FAMILIES]
    wanted = Counter(sources[index % len(sources)] for index in range(count))
    numbers: Counter[str] = Counter()
    for sample in synthetic.generate(4 * count, seed, split=split):
        if numbers[sample.source] == wanted[sample.source]:
            continue
        try:
            judged = list(_in_all_forms(rng, sample, numbers[sample.source]))
        except NoFaultyText:
            continue
        numbers[sample.source] += 1
        yield from judged
        if numbers == wanted:
            return
    raise ValueError(f"{numbers.total()} samples have faulty explanations, expected {count}")


def _in_all_forms(rng: random.Random, sample: Sample, number: int) -> Iterator[JudgedText]:
    """Yield the right and a faulty explanation of a sample, the `number`th of its family."""
    for name, form in FORMS.items():
        fault, make = list(FAULTS[name].items())[number % len(FAULTS[name])]
        right = form.text(families.solve(sample))
        yield JudgedText(_explained(sample, form, right), name)
        yield JudgedText(_explained(sample, form, make(rng, sample, form)), name, fault)


def _explained(sample: Sample, form: Form, text: str) -> GateInput:
    return GateInput(sample=sample, kind=form.kind, text=text, finish_reason="eos")
