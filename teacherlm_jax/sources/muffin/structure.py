"""Structure to text: sentences made of words, triples or attributes."""

import re

from teacherlm_jax.sources.muffin.data_set import (
    DataSet,
    Prompt,
    Row,
    Text,
    prompts,
    text_at,
    texts_at,
)

_MARK = re.compile(r"\[[A-Z]+\]\s*")  # [TABLECONTEXT], [TITLE]: what tables leave behind
_ATTRIBUTE = re.compile(r"([^\[\],]+)\[([^\]]*)\]")  # name[value]


def _triples(row: Row, path: str) -> str:
    told = (" – ".join(part.strip() for part in one.split("|")) for one in texts_at(row, path))
    return _MARK.sub("", "\n".join(told)).replace("_", " ")


def _attributes(row: Row) -> Row:
    found = _ATTRIBUTE.findall(text_at(row, "meaning_representation"))
    return {**row, "facts": "; ".join(f"{name.strip()}: {value}" for name, value in found)}


def _told() -> tuple[Prompt, ...]:
    return prompts(
        Text("target"),
        "{facts}\n\nPut this into words.",
        "Write a text that says all of the following.\n{facts}",
        "Facts:\n{facts}\nA sentence or two that tell them:",
        "Turn these subject – relation – object triples into English.\n{facts}",
        "A data base holds the lines below. Describe them to a reader.\n{facts}",
        "Say it fluently:\n{facts}",
        "How would an encyclopaedia phrase these facts?\n{facts}",
        "Make plain prose of this, leaving nothing out.\n{facts}",
        "Notes:\n{facts}\nWritten out:",
        "{facts}\nCombine these statements into natural text.",
    )


SETS = (
    DataSet(
        name="common_gen",
        builders=("gem/common_gen/1.1.0",),
        prompts=prompts(
            Text("target"),
            "Make a sentence with these words: {concepts}",
            "{concepts}\nWrite one everyday sentence in which all of them occur.",
            "Words: {concepts}\nSentence:",
            "Describe a scene that has all of this in it: {concepts}",
            "Which sentence could be built from {concepts}?",
            "Put {concepts} together in a sentence that makes sense.",
            "A child learns the words {concepts}. Use them in an example.",
            "Connect the following: {concepts}.",
            "Keywords: {concepts}. Write a short caption with every one of them.",
            "Tell in one line something that happens and involves {concepts}.",
        ),
        slots={"concepts": "concepts"},
        change=lambda row: {**row, "concepts": ", ".join(texts_at(row, "concepts"))},
        large=True,
    ),
    DataSet(
        name="dart",
        builders=("gem/dart/1.1.0",),
        prompts=_told(),
        slots={"facts": "facts"},
        change=lambda row: {**row, "facts": _triples(row, "tripleset")},
        large=True,
    ),
    DataSet(
        name="web_nlg_en",
        builders=("gem/web_nlg_en/1.1.0",),
        prompts=_told(),
        slots={"facts": "facts"},
        change=lambda row: {**row, "facts": _triples(row, "input")},
        large=True,
    ),
    DataSet(
        name="e2e_nlg",
        builders=("gem/e2e_nlg/1.1.0",),
        prompts=prompts(
            Text("target"),
            "Describe this place to eat. {facts}",
            "{facts}\nWrite what a guide would say about it.",
            "Restaurant data: {facts}\nIn a sentence or two:",
            "Recommend or describe the following venue, using all that is known. {facts}",
            "A visitor asks about a restaurant; your card reads: {facts} What do you tell them?",
            "Make a short description from these attributes: {facts}",
            "Known: {facts}. Put it into a fluent text.",
            "Write the entry of a city guide.\n{facts}",
            "Turn the list into prose, with no fact left out: {facts}",
            "How would you introduce this place? {facts}",
        ),
        slots={"facts": "facts"},
        change=_attributes,
        large=True,
    ),
)
