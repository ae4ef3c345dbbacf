"""Sentiment: is a text positive or negative?"""

from teacherlm_jax.sources.muffin.dataset import (
    DataSet,
    FixedOptions,
    Prompt,
    Row,
    labels,
    prompts,
    text_at,
)


def _mood(answer: FixedOptions) -> tuple[Prompt, ...]:
    return prompts(
        answer,
        "{text}\n\nIs this {kind} positive or negative?",
        "What feeling does the {kind} express? {text}",
        "Classify the sentiment of this {kind}: {text}",
        "Here is a {kind}: {text}\nIs the opinion good or bad?",
        "A {kind} says:\n{text}\nIs the author happy or unhappy?",
        'Read this {kind} and describe its attitude: "{text}"',
        "{text}\nWould you say this {kind} is favorable or unfavorable?",
        "What is the tone of the following {kind}?\n\n{text}",
        "Thumbs up or thumbs down? The {kind} reads: {text}",
        "How did the person who wrote this {kind} feel? {text}",
    )


_NEGATIVE_POSITIVE = FixedOptions("label", labels("Negative", "Positive"))


def _without_breaks(row: Row) -> Row:
    return {**row, "text": text_at(row, "text").replace("<br />", "\n")}


def _without_escapes(row: Row) -> Row:
    return {**row, "text": text_at(row, "text").replace('\\""', '"').replace("\\n", " ")}


SETS = (
    DataSet(
        name="imdb_reviews",
        builders=("imdb_reviews/plain_text/1.0.0",),
        prompts=_mood(_NEGATIVE_POSITIVE),
        slots={"text": "text"},
        words={"kind": "movie review"},
        change=_without_breaks,
    ),
    DataSet(
        name="sentiment140",
        builders=("sentiment140/1.0.0",),
        prompts=_mood(FixedOptions("polarity", {0: "Negative", 4: "Positive"})),  # 2, neutral: none
        slots={"text": "text"},
        words={"kind": "tweet"},
        large=True,
    ),
    DataSet(
        name="sst2",
        builders=("glue/sst2/2.0.0",),
        prompts=_mood(_NEGATIVE_POSITIVE),
        slots={"text": "sentence"},
        words={"kind": "sentence about a movie"},
        large=True,
    ),
    DataSet(
        name="yelp_polarity_reviews",
        builders=("yelp_polarity_reviews/0.2.0",),
        prompts=_mood(_NEGATIVE_POSITIVE),
        slots={"text": "text"},
        words={"kind": "review of a business"},
        change=_without_escapes,
        large=True,
    ),
)
