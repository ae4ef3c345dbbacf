"""Paraphrase: do two sentences say the same?"""

import math

from teacherlm_jax.sources.muffin.data_set import (
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
        "1. {first}\n2. {second}\nDo both {kind} mean the same?",
        'Is "{second}" another way to put "{first}"?',
        "Compare the two {kind}.\n{first}\n{second}\nAre they equivalent?",
        "One: {first}\nTwo: {second}\nCould one stand in for the other without loss?",
        "Here are two {kind}: {first} {second} Is their meaning identical?",
        "Could an editor drop one of these {kind} as a repetition of the other?\n"
        "A: {first}\nB: {second}",
        "{first}\n{second}\nHas the second line the content of the first?",
        "Decide whether the {kind} below amount to the same thing.\n- {first}\n- {second}",
        "Somebody rewrote the first of these {kind} as the second. Did its sense survive?\n"
        "First: {first}\nSecond: {second}",
        "Judge by meaning, not by words: do these {kind} agree?\n{first}\n{second}",
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
            "{first}\n{second}\nHow alike are they in meaning, from 0 (not at all) to 5 (the "
            "same)?",
            "Give the pair a mark for likeness, 0 to 5: {first} / {second}",
            "Sentence 1: {first}\nSentence 2: {second}\nDegree of similarity, 5 being the highest:",
            'On a scale up to 5, how close is "{first}" to "{second}"?',
            "Two sentences are given. Say how much of their sense they share, 0 for nothing and "
            "5 for everything.\n- {first}\n- {second}",
            "Rate the overlap in content (0 least, 5 most).\nA: {first}\nB: {second}",
            "If 5 means interchangeable and 0 unrelated, where does this pair stand?\n"
            "{first}\n{second}",
            "{first}\n\n{second}\n\nWhich number from 0 to 5 tells best how far these agree?",
            "An annotator has to score semantic similarity between 0 and 5. What score fits?\n"
            "First: {first}\nSecond: {second}",
            "Mark 0 to 5: do the lines below convey the same?\n1) {first}\n2) {second}",
        ),
        slots=_SENTENCES,
        change=_with_degree,
    ),
)
