"""Explanations of generated samples, correct or made faulty in known ways."""

import dataclasses
import random
from collections.abc import Callable, Iterator

from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.sample import KINDS, LETTERS, Sample

_PLACEHOLDERS = (
    *("N/A", "n/a.", "None", "TODO", "TODO: write this", "TBD", "-", "...", "[explanation]"),
    *("Explanation goes here.", "<your explanation here>", "Insert explanation here", "null"),
    *("No explanation provided.", "Lorem ipsum dolor sit amet.", "to be added", "(placeholder)"),
    *("The explanation will be added later.", "I have no explanation."),
)
_OTHER_PLACEHOLDERS = (
    *("Will write this later.", "Left blank.", "Check the textbook.", "explanation_text"),
    *("Not sure.", "To be continued", "Sorry, I cannot help with that.", "Explain it here."),
)
_FRENCH = (
    "La bonne option suit des faits de la question.",
    "Il faut lire les faits, puis choisir une option.",
)
_NEXT = (
    "Q: Is ice cold? (A) yes (B) no A: The answer is (A).",
    "Q: What do cows eat? A: grass",
    "\n\nQ: Which planet is closest to the sun?",
)
_SYMBOLS = "#$%&*+/<=>@^_|~{}[]"
_CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувщхыз")
_GREEK = str.maketrans("abcdefghijklmnopqrstuvwxyz", "αβψδεφγηιξκλμνοπρρστθωςχυζ")


@dataclasses.dataclass(frozen=True)
class FaultyText:
    """An explanation with known verdicts.

    Attributes:
        explained: the explanation as gates take it.
        fault: name of its fault; empty if it has none.
        gate: the gate that must fail it; empty if none. All faults are wrong by the sample's rules.
        unjudged: gates that may fail it or not, because the fault also resembles theirs.
    """

    explained: GateInput
    fault: str
    gate: str
    unjudged: tuple[str, ...] = ()


_Source = tuple[random.Random, Sample, str]  # sample and its correct text
_Maker = Callable[[random.Random, Sample, str], str]


def _cut(rng: random.Random, sample: Sample, text: str) -> str:
    words = text.split()
    return " ".join(words[: rng.randrange(1, len(words))])


def _loop(length: int) -> _Maker:
    """Return a function that repeats words of a text 4 to 30 times, to the end of it."""

    def make(rng: random.Random, sample: Sample, text: str) -> str:
        words = text.split()
        start = rng.randrange(max(1, len(words) - length))
        unit = words[start : start + length]
        return " ".join(words[:start] + unit * rng.randint(4, 30))

    return make


def _sentence_loop(rng: random.Random, sample: Sample, text: str) -> str:
    sentence = f"{text.rstrip('.').split('. ')[-1]}."
    return " ".join([text, *[sentence] * rng.randint(2, 10)])


def _counted_loop(rng: random.Random, sample: Sample, text: str) -> str:
    steps = range(1, rng.randint(8, 30))
    return f"{text} {' '.join(f'Step {step}: look at the question again.' for step in steps)}"


def _scattered(characters: str, share: float) -> _Maker:
    """Return a function that replaces a share of a text's characters, at least one."""

    def make(rng: random.Random, sample: Sample, text: str) -> str:
        places = rng.sample(range(len(text)), max(1, int(share * len(text))))
        return "".join(
            rng.choice(characters) if place in set(places) else character
            for place, character in enumerate(text)
        )

    return make


def _rewritten(letters: dict[int, int], share: float) -> _Maker:
    """Return a function that writes the last share of a text's words in other letters."""

    def make(rng: random.Random, sample: Sample, text: str) -> str:
        words = text.lower().split()
        start = round((1 - share) * len(words))
        return " ".join([*words[:start], *(word.translate(letters) for word in words[start:])])

    return make


def _wrong(rng: random.Random, sample: Sample) -> int:
    return rng.choice([n for n in range(len(sample.options)) if n != sample.answer_index])


def _concluding(template: str) -> _Maker:
    """Return a function that appends a sentence with the wrong `letter` or `option`."""

    def make(rng: random.Random, sample: Sample, text: str) -> str:
        wrong = _wrong(rng, sample)
        said = template.format(letter=LETTERS[wrong], option=sample.options[wrong])
        return f"{text} {said}"

    return make


def _copied(rng: random.Random, sample: Sample, text: str) -> str:
    return sample.question


def _copied_options(rng: random.Random, sample: Sample, text: str) -> str:
    return prompts.options_text(sample)


def _copied_prompt(rng: random.Random, sample: Sample, text: str) -> str:
    return f"{sample.question} {prompts.options_text(sample)} The answer is {sample.answer}."


def _copied_sentences(rng: random.Random, sample: Sample, text: str) -> str:
    sentences = [part.strip(". ?") for part in sample.question.split(". ")]
    rng.shuffle(sentences)
    return f"{'. '.join(sentences)}. So the answer is {sample.answer}."


def _argued(rng: random.Random, sample: Sample, text: str) -> str:
    right, wrong = sample.options[sample.answer_index], sample.options[_wrong(rng, sample)]
    before, _, after = text.rpartition(right)
    return f"{before}{wrong}{after}" if after or before else f"It is {wrong}."


def _paraphrased(rng: random.Random, sample: Sample, text: str) -> str:
    words = sample.question.split()
    return " ".join("thing" if place % 4 == 3 else word for place, word in enumerate(words))


def _continued(rng: random.Random, sample: Sample, text: str) -> str:
    return f"{text} {rng.choice(_NEXT)}"


FAULTS: dict[str, tuple[str, _Maker, tuple[str, ...]]] = {  # gate, maker, unjudged gates
    "truncated": ("finished", _cut, ("not_copied",)),
    "empty": ("not_empty", lambda rng, sample, text: "", ()),
    "white space": ("not_empty", lambda rng, sample, text: " \n", ()),
    "a word loops": ("no_repetition", _loop(1), ("not_copied",)),
    "three words loop": ("no_repetition", _loop(3), ("not_copied",)),
    "seven words loop": ("no_repetition", _loop(7), ("not_copied",)),
    "the last sentence loops": ("no_repetition", _sentence_loop, ("not_copied",)),
    "counted steps loop": ("no_repetition", _counted_loop, ()),
    "replacement characters": ("no_garbage", _scattered("\ufffd", 0.02), ()),
    "control characters": ("no_garbage", _scattered("\x00\x07\x1b", 0.02), ()),
    "symbols": ("no_garbage", _scattered(_SYMBOLS, 0.9), ()),
    "Cyrillic": ("same_script", _rewritten(_CYRILLIC, 1.0), ()),
    "Greek": ("same_script", _rewritten(_GREEK, 1.0), ()),
    "half in Cyrillic": ("same_script", _rewritten(_CYRILLIC, 0.5), ()),
    "Chinese": (
        "same_script",
        lambda rng, sample, text: "因为题目已经说明了这一点，所以答案是对的。",
        (),
    ),
    "placeholder": ("no_placeholder", lambda rng, sample, text: rng.choice(_PLACEHOLDERS), ()),
    "question": ("not_copied", _copied, ()),
    "options": ("not_copied", _copied_options, ()),
    "question, options and answer": ("not_copied", _copied_prompt, ()),
    "sentences of the question": ("not_copied", _copied_sentences, ()),
    "another explanation follows": ("no_other_trigger", lambda rng, sample, text: text, ()),
    "another question follows": ("no_other_trigger", _continued, ("concludes_answer",)),
    "wrong letter": ("concludes_answer", _concluding("So the answer is ({letter})."), ()),
    "wrong text": ("concludes_answer", _concluding("The correct answer is {option}."), ()),
    "wrong letter at the end": ("concludes_answer", _concluding("It must be ({letter})."), ()),
    "wrong text at the end": ("concludes_answer", _concluding("Therefore it is {option}."), ()),
}


# Faults that the gates were not written for: each shows a limit of its gate.
HARDER: dict[str, tuple[str, _Maker]] = {
    "argues for a wrong option": ("concludes_answer", _argued),
    "question with every fourth word changed": ("not_copied", _paraphrased),
    "French": ("same_script", lambda rng, sample, text: rng.choice(_FRENCH)),
    "placeholder in other words": (
        "no_placeholder",
        lambda rng, sample, text: rng.choice(_OTHER_PLACEHOLDERS),
    ),
    "twice the same text": ("no_repetition", lambda rng, sample, text: f"{text} {text}"),
    "letters of words mixed": ("no_garbage", _scattered("abcdefghijklmnopqrstuvwxyz", 0.5)),
}


def harder_texts(count: int, seed: int) -> Iterator[FaultyText]:
    """Yield chains of thought of `count` samples with the faults of HARDER."""
    rng = random.Random(seed)
    for sample in synthetic.generate(count, seed):
        (text,) = sample.explanations["cot"].values()
        for fault, (gate, make) in HARDER.items():
            yield FaultyText(_explained(sample, "cot", make(rng, sample, text)), fault, gate)


def texts(count: int, seed: int) -> Iterator[FaultyText]:
    """Yield the explanations of `count` samples: each kind correct, and with every fault.

    A chain of thought alone gets a wrong conclusion.
    """
    rng = random.Random(seed)
    for sample in synthetic.generate(count, seed):
        for kind in KINDS:
            (text,) = sample.explanations[kind].values()
            yield FaultyText(_explained(sample, kind, text), "", "")
            for fault, (gate, make, unjudged) in FAULTS.items():
                if gate == "concludes_answer" and kind != "cot":
                    continue
                faulty = make(rng, sample, text)
                if fault == "another explanation follows":
                    other = rng.choice([other for other in KINDS if other != kind])
                    faulty = f"{text} {prompts.TRIGGERS[other]} {text}"
                    unjudged = ("no_repetition",)  # the text is in it twice
                reason = "length" if gate == "finished" else "eos"
                yield FaultyText(_explained(sample, kind, faulty, reason), fault, gate, unjudged)


def _explained(sample: Sample, kind: str, text: str, finish_reason: str = "eos") -> GateInput:
    return GateInput(sample=sample, kind=kind, text=text.strip(), finish_reason=finish_reason)


def similar_texts(count: int, seed: int) -> list[str]:
    """Return chains of thought of `count` samples, each followed by a copy with 0 to 8 edits."""
    rng = random.Random(seed)
    result = []
    for number, sample in enumerate(synthetic.generate(count, seed)):
        (text,) = sample.explanations["cot"].values()
        words = text.split()
        for place in rng.sample(range(len(words)), min(number % 9, len(words))):
            words[place] = rng.choice(("really", "also", "clearly", "now", "just", words[-1]))
        result += [text, " ".join(words)]
    return result
