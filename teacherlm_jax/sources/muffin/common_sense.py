"""Common sense: what happens next, what caused an event, how to do something."""

import re

from teacherlm_jax.sources.muffin.dataset import Choice, DataSet, Row, prompts, text_at, texts_at

_BRACKETED = re.compile(r"\[\w+\]\s*")  # [header], [title], [step]: markup left over from WikiHow


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
            "{premise} Which of these is the more likely {sought}?",
            "Situation: {premise}\nWhat is its {sought}?",
            "Use common sense. {premise} Pick the more plausible {sought}.",
            "What is the {sought} of the following? {premise}",
            'You hear: "{premise}" Which option do you think is the {sought}?',
            "Here is an event and two possible options for its {sought}. Which one fits better?\n"
            "{premise}",
            "{premise}\nOne of the statements below is its {sought}. Which?",
            "Reason about cause and effect. Event: {premise} What was the {sought}?",
            "Which {sought} would most people expect here? {premise}",
            "Choose the {sought} that best matches this event. {premise}",
        ),
        slots={"premise": "premise", "sought": "question"},
    ),
    DataSet(
        name="hellaswag",
        builders=("hellaswag/1.1.0",),
        prompts=prompts(
            Choice("label", ("endings",)),
            "{context}\n\nWhat happens next?",
            "Which ending makes the most sense? {context}",
            "The description stops here: {context}\nPick the most plausible continuation.",
            "Topic: {topic}\nSo far: {context}\nWhat comes next?",
            'Finish the text about "{topic}".\n\n{context}',
            "Only one of the continuations below is realistic. Which one?\n{context}",
            "A scene about {topic}: {context}\nWhat happens next in the scene?",
            "Read the beginning and choose the most natural continuation.\nBeginning: {context}",
            "{context} …\nComplete the text so that it makes sense.",
            "Someone tells you this and then pauses: {context}\nWhat do they say next?",
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
            "Goal: {goal}\nHow do you achieve it?",
            "What should you do for this? {goal}",
            "Here are two tips for the task below. Which one works?\n{goal}",
            "{goal}\nChoose the method that makes physical sense.",
            'Someone asks for advice: "{goal}" What do you tell them?',
            "Household question: {goal} What is the better way to do it?",
            "I am trying to do this: {goal}\nHow should I do it?",
            "Which of the two solutions would work in practice? Goal: {goal}",
            "One of these instructions is wrong. Find the correct one for: {goal}",
            "Which steps should you follow to do this? {goal}",
        ),
        slots={"goal": "goal"},
    ),
)
