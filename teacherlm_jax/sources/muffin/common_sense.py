"""Common sense: what happens next, what caused it, how a thing is done."""

import re

from teacherlm_jax.sources.muffin.data_set import Choice, DataSet, Row, prompts, text_at, texts_at

_BRACKETED = re.compile(r"\[\w+\]\s*")  # [header], [title], [step]: marks left of WikiHow's layout


def _without_marks(row: Row) -> Row:
    return {
        **row,
        "context": _BRACKETED.sub("", text_at(row, "context")),
        "endings": [_BRACKETED.sub("", ending) for ending in texts_at(row, "endings")],
    }


SETS = (
    DataSet(
        name="copa",
        builders=("super_glue/copa/1.0.2",),
        prompts=prompts(
            Choice("label", ("choice1", "choice2")),
            "{premise} Which of these is the likelier {sought}?",
            "Situation: {premise}\nName its {sought}.",
            "Think of everyday life. {premise} Pick the more plausible {sought}.",
            "What is the {sought} of the following? {premise}",
            'You hear: "{premise}" Which one do you take to be the {sought}?',
            "Two things are offered as the {sought} of what is told here. Which fits better?\n"
            "{premise}",
            "{premise}\nOne of the statements below is its {sought}. Which?",
            "Reason about cause and effect. Event: {premise} Wanted: its {sought}.",
            "Told that {premise}, which {sought} would most people expect?",
            "Choose the {sought} that goes best with this event. {premise}",
        ),
        slots={"premise": "premise", "sought": "question"},
    ),
    DataSet(
        name="hellaswag",
        builders=("hellaswag/1.1.0",),
        prompts=prompts(
            Choice("label", ("endings",)),
            "{context}\n\nHow does it go on?",
            "Which ending makes sense for this beginning? {context}",
            "The description breaks off: {context}\nPick what most plausibly comes next.",
            "Topic: {topic}\nSo far: {context}\nWhat follows?",
            'Finish the text about "{topic}".\n\n{context}',
            "Only one of the continuations below could really happen. Which?\n{context}",
            "A scene about {topic}: {context}\nWhich is the next moment of the scene?",
            "Read the beginning and choose its natural continuation.\nBeginning: {context}",
            "{context} …\nComplete it sensibly.",
            "Somebody tells you the following and pauses: {context}\n"
            "With which words do they go on?",
        ),
        slots={"context": "context", "topic": "activity_label"},
        change=_without_marks,
        large=True,
    ),
    DataSet(
        name="piqa",
        builders=("piqa/1.0.0",),
        prompts=prompts(
            Choice("label", ("sol1", "sol2")),
            "Goal: {goal}\nWhich way reaches it?",
            "What should one do for this? {goal}",
            "Two tips are given for the task below. Which one works?\n{goal}",
            "{goal}\nChoose the method that is physically sensible.",
            'Somebody wants to know: "{goal}" Which advice do you give?',
            "Household question: {goal} What is the better procedure?",
            "I am trying to do this: {goal}\nHow do I go about it?",
            "Which of the two solutions would succeed in practice? Aim: {goal}",
            "One of these instructions is wrong. Find the right one for: {goal}",
            "To achieve the following, which steps do you follow? {goal}",
        ),
        slots={"goal": "goal"},
    ),
)
