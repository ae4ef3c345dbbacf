"""Summaries of news, e-mail, instructions, reviews and arguments; topics of news."""

from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.sources.muffin.dataset import (
    DataSet,
    FixedOptions,
    Prompt,
    Row,
    Text,
    labels,
    numbered,
    prompts,
    text_at,
    texts_at,
)

_LISTED = 10  # most reviews or arguments that a prompt shows


def _summary(path: str) -> tuple[Prompt, ...]:
    return prompts(
        Text(path),
        "{text}\n\nSummarize this {kind} in {size}.",
        "Write {size} with the most important information in the following {kind}.\n{text}",
        "Here is a {kind}: {text}\nSummary in {size}:",
        "I do not have time to read all of this. What does it say, in {size}?\n{text}",
        "Condense this to {size}: {text}",
        "{text}\nWhat are the main points of this {kind}? Give {size}.",
        "Read the {kind} below and summarize it briefly as {size}.\n\n{text}",
        "Shorten this {kind} to {size} for a reader in a hurry.\n{text}",
        "How would you sum up the following {kind} in {size}? {text}",
        "An editor needs {size} to introduce this {kind}. Write it.\n{text}",
    )


def _gigaword(row: Row) -> Row:
    if any(sign in text_at(row, path) for path in ("document", "summary") for sign in ("UNK", "#")):
        raise SampleError("numbers or rare words are masked")
    return row


def _multi_news(row: Row) -> Row:
    """Separate the articles on one event by blank lines instead of bars."""
    return {**row, "document": text_at(row, "document").replace("|||||", "\n\n")}


def _reviews(row: Row) -> Row:
    return {
        **row,
        "film": text_at(row, "_movie_name").replace("_", " "),
        "reviews": numbered(texts_at(row, "_critics.value")[:_LISTED]),
    }


def _arguments(row: Row) -> Row:
    return {
        **row,
        "debate": text_at(row, "_debate_name").replace("_", " "),
        "arguments": numbered(texts_at(row, "_argument_sentences.value")[:_LISTED]),
    }


SETS = (
    DataSet(
        name="cnn_dailymail",
        builders=("cnn_dailymail/3.4.0",),
        prompts=_summary("highlights"),
        slots={"text": "article"},
        words={"kind": "news article", "size": "a few sentences"},
        large=True,
    ),
    DataSet(
        name="gigaword",
        builders=("gigaword/1.2.0",),
        prompts=_summary("summary"),
        slots={"text": "document"},
        words={"kind": "beginning of a news report", "size": "a headline"},
        change=_gigaword,
        large=True,
    ),
    DataSet(
        name="multi_news",
        builders=("multi_news/2.1.0",),
        prompts=_summary("summary"),
        slots={"text": "document"},
        words={"kind": "set of articles about one event", "size": "one paragraph"},
        change=_multi_news,
        large=True,
    ),
    DataSet(
        name="wiki_lingua",
        builders=("gem/wiki_lingua_english_en/1.1.0",),
        prompts=_summary("target"),
        slots={"text": "source"},
        words={"kind": "set of instructions", "size": "short imperative sentences"},
        large=True,
    ),
    DataSet(
        name="aeslc",
        builders=("aeslc/1.0.0",),
        prompts=prompts(
            Text("subject_line"),
            "{text}\n\nWhat is the subject line of this e-mail?",
            "Write a subject for the message below.\n{text}",
            "E-mail: {text}\nSubject:",
            "The sender forgot the subject line. Add one.\n{text}",
            "In a few words, what is this message about? {text}",
            "Give this e-mail a subject line that the recipient will understand "
            "immediately.\n{text}",
            "What would the subject of this e-mail be in an inbox?\n\n{text}",
            "State the subject of this message: {text}",
            "Write a short title for this message.\n{text}",
            "An assistant sorts e-mail by subject. Which subject should it use for this one? "
            "{text}",
        ),
        slots={"text": "email_body"},
    ),
    DataSet(
        name="ag_news_subset",
        builders=("ag_news_subset/1.0.0",),
        prompts=prompts(
            FixedOptions("label", labels("World", "Sports", "Business", "Science and technology")),
            "{title}\n{text}\nWhich section of a newspaper does this belong in?",
            "Title: {title}\nText: {text}\nTopic:",
            "Classify the article by topic. {title}. {text}",
            "What is this news about? {text}",
            'An editor files "{title}". Which category does it go under?\n{text}',
            "{text}\n\nWhat area is this story about?",
            "Classify: {title} — {text}",
            "Which section would readers look for this in? {title}\n{text}",
            "A news agency tags its articles. Which tag fits this one?\n{title}\n{text}",
            "Decide on the topic of an article that begins like this: {text}",
        ),
        slots={"title": "title", "text": "description"},
        large=True,
    ),
    DataSet(
        name="opinion_abstracts_rotten_tomatoes",
        builders=("opinion_abstracts/rotten_tomatoes/1.0.0",),
        prompts=prompts(
            Text("_critic_consensus"),
            'Reviews of "{film}":\n{reviews}\nWhat do the critics agree on?',
            '{reviews}\n\nSummarize these opinions of the movie "{film}".',
            'In one sentence, how was "{film}" received? Here are some reviews:\n{reviews}',
            "Movie: {film}\nWhat critics wrote:\n{reviews}\nConsensus:",
            "Tell a friend what reviewers think of {film}.\n{reviews}",
            "Write one sentence that all of these reviewers of {film} would agree with.\n{reviews}",
            'Consider these opinions of "{film}" and give the overall verdict.\n{reviews}',
            "What is the general opinion of {film} in these reviews?\n{reviews}",
            "{reviews}\nThese are reviews of {film}. Summarize them.",
            "What do critics think of {film} overall?\n{reviews}",
        ),
        slots={"film": "film", "reviews": "reviews"},
        change=_reviews,
    ),
    DataSet(
        name="opinion_abstracts_idebate",
        builders=("opinion_abstracts/idebate/1.0.0",),
        prompts=prompts(
            Text("_claim"),
            "Debate: {debate}\nArguments:\n{arguments}\nWhat is the claim?",
            "{arguments}\n\nWhich claim do these arguments support in the debate “{debate}”?",
            "Someone makes these arguments about “{debate}”. State their point in one sentence.\n"
            "{arguments}",
            "Summarize this side of the debate “{debate}”.\n{arguments}",
            "Topic: {debate}\nReasons given:\n{arguments}\nClaim:",
            "Write the claim that these reasons support. They are about {debate}.\n{arguments}",
            "What does the speaker want to prove about {debate}?\n{arguments}",
            "A debate club files these arguments about {debate}. What is the main claim?\n"
            "{arguments}",
            "Boil these points about “{debate}” down to one conclusion.\n{arguments}",
            "{arguments}\nIn the debate about {debate}, what do these arguments show?",
        ),
        slots={"debate": "debate", "arguments": "arguments"},
        change=_arguments,
    ),
)
