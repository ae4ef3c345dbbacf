"""Explanations of generated samples that support the right answer, or do not for a known reason.

They are for the gate `answer_check`, so each sample has options. An explanation has one of three
FORMS, and a faulty one has one of the FAULTS of its form. As many are faulty as not.
"""

import dataclasses
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks import faulty_texts
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.data.synthetic import families
from teacherlm_jax.data.synthetic.facts import Solution

_CONCLUSION = re.compile(r", (?:so|and the answer is) [^,]*\.$")
_DRAWS = 500  # of other facts, before one more of them may be misread


def without_conclusion(text: str) -> str:
    """Return a generated chain of thought without the words that state its answer."""
    return _CONCLUSION.sub(".", text)


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
    "chain of thought without its conclusion": Form("cot", without_conclusion),
    "fundamental": Form("fundamental"),
}

Solved = Sequence[tuple[Sample, Solution]]  # of one family
_Maker = Callable[[random.Random, Sample, Form, Solved], str]


@dataclasses.dataclass(frozen=True)
class JudgedText:
    """An explanation, the name of its form, and that of its fault; empty: it has none."""

    explained: GateInput
    form: str
    fault: str = ""


def _misread(rng: random.Random, sample: Sample, form: Form, solved: Solved) -> str:
    """Return the explanation of a question that differs in a fact, and so in the answer.

    If no other value of one fact changes the answer, two facts differ, and so on.
    """
    family = families.FAMILIES[sample.source.rpartition("/")[2]]
    facts = family.parse(sample.question)
    names = [field.name for field in dataclasses.fields(facts)]
    for draw in range(_DRAWS * len(names)):
        other = family.draw(rng)
        changed = rng.sample(names, 1 + draw // _DRAWS)
        values = {name: getattr(other, name) for name in changed}
        try:
            solution = dataclasses.replace(facts, **values).solve()
        except (ValueError, LookupError):  # facts that do not fit together
            continue
        same_options = solution.options == sample.options
        if same_options and _is_other(sample, solution) and _is_false(sample, form, solution):
            return form.text(solution)
    raise ValueError(f"{sample.id}: no other facts change the answer of {sample.question!r}")


def _of_another(rng: random.Random, sample: Sample, form: Form, solved: Solved) -> str:
    """Return the explanation of another sample of the family, which has another answer."""
    return rng.choice(
        [
            form.text(solution)
            for _, solution in solved
            if _is_other(sample, solution) and _is_false(sample, form, solution)
        ]
    )


def _concluded(rng: random.Random, sample: Sample, form: Form, solved: Solved) -> str:
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


def _is_other(sample: Sample, solution: Solution) -> bool:
    return solution.answer != sample.options[sample.answer_index]


def _is_false(sample: Sample, form: Form, solution: Solution) -> bool:
    """Return whether the explanation of a solution is not also one of the sample."""
    return form.text(solution) != form.text(families.solve(sample))


def texts(count: int, seed: int, split: str = "test") -> Iterator[JudgedText]:
    """Yield a right and a faulty explanation in each form for each of `count` samples.

    The faults of a form take turns within each family. Only questions of `split` are explained;
    those of other splits are different.
    """
    rng = random.Random(f"unsupported {seed}")
    by_family: dict[str, list[tuple[Sample, Solution]]] = {}
    for sample in synthetic.generate(count, seed, split=split):
        by_family.setdefault(sample.source, []).append((sample, families.solve(sample)))
    for solved in by_family.values():
        for number, (sample, solution) in enumerate(solved):
            for name, form in FORMS.items():
                fault, make = list(FAULTS[name].items())[number % len(FAULTS[name])]
                yield JudgedText(_explained(sample, form, form.text(solution)), name)
                faulty = make(rng, sample, form, solved)
                yield JudgedText(_explained(sample, form, faulty), name, fault)


def _explained(sample: Sample, form: Form, text: str) -> GateInput:
    return GateInput(sample=sample, kind=form.kind, text=text, finish_reason="eos")
