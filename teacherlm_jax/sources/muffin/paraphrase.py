"""Paraphrase: do two sentences mean the same thing?"""

import math

from teacherlm_jax.sources.muffin.dataset import (
    DataSet,
    FixedOptions,
    Prompt,
    Row,
    labels,
    number_at,
    prompts,
)

_SAME = FixedOptions("label", labels("No", "Yes"))
_DEGREES = FixedOptions("degree", labels("0", "1", "2", "3", "4", "5"))


def _same(answer: FixedOptions) -> tuple[Prompt, ...]:
    return prompts(
        answer,
        "1. {first}\n2. {second}\nDo these two {kind} mean the same thing?",
        'Is "{second}" another way of saying "{first}"?',
        "Compare the two {kind}.\n{first}\n{second}\nAre they equivalent?",
        "1: {first}\n2: {second}\nCould you replace one with the other without changing the "
        "meaning?",
        "Here are two {kind}: {first} {second} Do they have the same meaning?",
        "Could an editor delete one of these {kind} because it only repeats the other?\n"
        "A: {first}\nB: {second}",
        "{first}\n{second}\nDoes the second line say the same thing as the first?",
        "Decide whether the {kind} below are paraphrases of each other.\n- {first}\n- {second}",
        "Someone rewrote the first of these {kind} as the second. Did the meaning stay the same?\n"
        "First: {first}\nSecond: {second}",
        "Look at the meaning and not at the wording: are these {kind} the same?\n{first}\n{second}",
    )


def _with_degree(row: Row) -> Row:
    """The mean of several people's marks, rounded to the nearest whole one."""
    return {**row, "degree": math.floor(number_at(row, "label") + 0.5)}


_SENTENCES = {"first": "sentence1", "second": "sentence2"}

SETS = (
    DataSet(
        name="mrpc",
        builders=("glue/mrpc/2.0.0",),
        prompts=_same(_SAME),
        slots=_SENTENCES,
        words={"kind": "sentences"},
    ),
    DataSet(
        name="qqp",
        builders=("glue/qqp/2.0.0",),
        prompts=_same(_SAME),
        slots={"first": "question1", "second": "question2"},
        words={"kind": "questions"},
        large=True,
    ),
    DataSet(
        name="paws_wiki",
        builders=("paws_wiki/labeled_final_tokenized/1.1.0",),
        prompts=_same(_SAME),
        slots=_SENTENCES,
        words={"kind": "sentences"},
        large=True,
    ),
    DataSet(
        name="stsb",
        builders=("glue/stsb/2.0.0",),
        prompts=prompts(
            _DEGREES,
            "{first}\n{second}\nHow similar are they in meaning, from 0 (not at all) to 5 (the "
            "same)?",
            "Rate the similarity of this pair from 0 to 5: {first} / {second}",
            "Sentence 1: {first}\nSentence 2: {second}\nSimilarity score, where 5 is the highest:",
            'On a scale up to 5, how close is "{first}" to "{second}"?',
            "Here are two sentences. How much meaning do they share, from 0 for none to "
            "5 for all of it?\n- {first}\n- {second}",
            "Rate how much the content overlaps (0 is least, 5 is most).\nA: {first}\nB: {second}",
            "If 5 means interchangeable and 0 means unrelated, how would you rate this pair?\n"
            "{first}\n{second}",
            "{first}\n\n{second}\n\nWhich number from 0 to 5 best describes how similar these are?",
            "An annotator scores semantic similarity from 0 to 5. What score should this pair "
            "get?\n"
            "First: {first}\nSecond: {second}",
            "From 0 to 5, how closely do the lines below match in meaning?\n1) {first}\n2) "
            "{second}",
        ),
        slots=_SENTENCES,
        change=_with_degree,
    ),
)
