"""Structure to text: sentences from words, triples or attributes."""

import re

from teacherlm_jax.sources.muffin.dataset import (
    DataSet,
    Prompt,
    Row,
    Text,
    prompts,
    text_at,
    texts_at,
)

_MARK = re.compile(r"\[[A-Z]+\]\s*")  # [TABLECONTEXT], [TITLE]: markup left over from tables
_ATTRIBUTE = re.compile(r"([^\[\],]+)\[([^\]]*)\]")  # name[value]


def _triples(row: Row, path: str) -> str:
    lines = (" – ".join(part.strip() for part in one.split("|")) for one in texts_at(row, path))
    return _MARK.sub("", "\n".join(lines)).replace("_", " ")


def _attributes(row: Row) -> Row:
    attributes = _ATTRIBUTE.findall(text_at(row, "meaning_representation"))
    return {**row, "facts": "; ".join(f"{name.strip()}: {value}" for name, value in attributes)}


def _facts() -> tuple[Prompt, ...]:
    return prompts(
        Text("target"),
        "{facts}\n\nPut this into words.",
        "Write a text that says all of the following.\n{facts}",
        "Facts:\n{facts}\nThe same facts in a sentence or two:",
        "Turn these subject – relation – object triples into English.\n{facts}",
        "A database contains the entries below. Describe them for a reader.\n{facts}",
        "Rewrite this as fluent text:\n{facts}",
        "How would an encyclopedia phrase these facts?\n{facts}",
        "Turn this into plain prose without leaving anything out.\n{facts}",
        "Notes:\n{facts}\nAs full sentences:",
        "{facts}\nCombine these statements into natural text.",
    )


SETS = (
    DataSet(
        name="common_gen",
        builders=("gem/common_gen/1.1.0",),
        prompts=prompts(
            Text("target"),
            "Write a sentence with these words: {concepts}",
            "{concepts}\nWrite one everyday sentence that uses all of them.",
            "Words: {concepts}\nSentence:",
            "Describe a scene that includes all of these: {concepts}",
            "What sentence could you write using {concepts}?",
            "Put {concepts} together in a sentence that makes sense.",
            "A child learns the words {concepts}. Use them in an example sentence.",
            "Connect these words in one sentence: {concepts}.",
            "Keywords: {concepts}. Write a short caption that uses every one of them.",
            "In one sentence, describe something that happens and involves {concepts}.",
        ),
        slots={"concepts": "concepts"},
        change=lambda row: {**row, "concepts": ", ".join(texts_at(row, "concepts"))},
        large=True,
    ),
    DataSet(
        name="dart",
        builders=("gem/dart/1.1.0",),
        prompts=_facts(),
        slots={"facts": "facts"},
        change=lambda row: {**row, "facts": _triples(row, "tripleset")},
        large=True,
    ),
    DataSet(
        name="web_nlg_en",
        builders=("gem/web_nlg_en/1.1.0",),
        prompts=_facts(),
        slots={"facts": "facts"},
        change=lambda row: {**row, "facts": _triples(row, "input")},
        large=True,
    ),
    DataSet(
        name="e2e_nlg",
        builders=("gem/e2e_nlg/1.1.0",),
        prompts=prompts(
            Text("target"),
            "Describe this restaurant. {facts}",
            "{facts}\nWrite what a travel guide would say about it.",
            "Restaurant data: {facts}\nIn a sentence or two:",
            "Recommend or describe this place, using all of the information. {facts}",
            "A visitor asks about a restaurant. Your notes say: {facts} What do you tell them?",
            "Write a short description from these attributes: {facts}",
            "Facts: {facts}. Rewrite them as fluent text.",
            "Write an entry for a city guide.\n{facts}",
            "Turn the list into prose and include every fact: {facts}",
            "How would you introduce this place? {facts}",
        ),
        slots={"facts": "facts"},
        change=_attributes,
        large=True,
    ),
)
