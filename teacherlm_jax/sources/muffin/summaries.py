"""Summaries: of news, e-mail, instructions, reviews and arguments; and topics of news."""

from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.sources.muffin.data_set import (
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

_LISTED = 10  # reviews or arguments that a prompt shows at most


def _summary(path: str) -> tuple[Prompt, ...]:
    return prompts(
        Text(path),
        "{text}\n\nSum up this {kind} in {size}.",
        "Write {size} that tells what matters in the following {kind}.\n{text}",
        "The {kind}: {text}\nIts gist in {size}:",
        "I have no time to read all this. What does it say, in {size}?\n{text}",
        "Condense to {size}: {text}",
        "{text}\nWhat are the main points of this {kind}? Give {size}.",
        "Read the {kind} below and report it briefly, as {size}.\n\n{text}",
        "Shorten this {kind} for a reader in a hurry; {size} will do.\n{text}",
        "How would you retell the following {kind} in {size}? {text}",
        "An editor wants {size} to stand above this {kind}. Write it.\n{text}",
    )


def _gigaword(row: Row) -> Row:
    if any(sign in text_at(row, path) for path in ("document", "summary") for sign in ("UNK", "#")):
        raise SampleError("figures or rare words are blotted out")
    return row


def _multi_news(row: Row) -> Row:
    """Articles on one event stand one after the other, with bars between them."""
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
        words={"kind": "opening of a news report", "size": "a headline"},
        change=_gigaword,
        large=True,
    ),
    DataSet(
        name="multi_news",
        builders=("multi_news/2.1.0",),
        prompts=_summary("summary"),
        slots={"text": "document"},
        words={"kind": "set of articles on one event", "size": "one paragraph"},
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
            "The sender forgot the subject. Supply it.\n{text}",
            "In a few words, what is this message about? {text}",
            "Give this e-mail a title that its receiver will understand at once.\n{text}",
            "How would this mail be listed in an inbox?\n\n{text}",
            "Name the matter of the letter: {text}",
            "Find a short heading for what is written here.\n{text}",
            "An assistant sorts mail by subject. Which subject does it note for this? {text}",
        ),
        slots={"text": "email_body"},
    ),
    DataSet(
        name="ag_news_subset",
        builders=("ag_news_subset/1.0.0",),
        prompts=prompts(
            FixedOptions("label", labels("World", "Sports", "Business", "Science and technology")),
            "{title}\n{text}\nIn which section of a newspaper does this belong?",
            "Title: {title}\nText: {text}\nTopic:",
            "Sort the report by its subject. {title}. {text}",
            "What is this news about? {text}",
            'An editor files "{title}". Under what heading?\n{text}',
            "{text}\n\nName the field that this story comes from.",
            "Classify: {title} — {text}",
            "Readers of which pages would look for this? {title}\n{text}",
            "A news agency tags its reports. Which tag goes with this one?\n{title}\n{text}",
            "Decide on the topic of the article that begins so: {text}",
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
            '{reviews}\n\nSum up these opinions of the film "{film}".',
            'In a sentence, how was "{film}" received? These are reviews of it:\n{reviews}',
            "Film: {film}\nWhat critics wrote:\n{reviews}\nConsensus:",
            "Tell a friend what reviewers think of {film}.\n{reviews}",
            "Write one line that all of these reviewers of {film} could sign.\n{reviews}",
            'Weigh the voices on "{film}" and give their common verdict.\n{reviews}',
            "From these notices, draw the general view of {film}:\n{reviews}",
            "{reviews}\nAll this was said of {film}. Put it in brief.",
            "What is the press's overall judgement of {film}?\n{reviews}",
        ),
        slots={"film": "film", "reviews": "reviews"},
        change=_reviews,
    ),
    DataSet(
        name="opinion_abstracts_idebate",
        builders=("opinion_abstracts/idebate/1.0.0",),
        prompts=prompts(
            Text("_claim"),
            "Debate: {debate}\nArguments:\n{arguments}\nWhat is claimed?",
            "{arguments}\n\nWhich thesis do these arguments support in the debate “{debate}”?",
            "Somebody argues on “{debate}” as follows. State the point in one sentence.\n"
            "{arguments}",
            "Sum up this side of “{debate}”.\n{arguments}",
            "Topic: {debate}\nReasons given:\n{arguments}\nClaim:",
            "Write the sentence for which the following are reasons. They are about {debate}.\n"
            "{arguments}",
            "What does the speaker want to show, on the question of {debate}?\n{arguments}",
            "A debating club has to file these arguments on {debate}. Give their heading.\n"
            "{arguments}",
            "Boil these points on “{debate}” down to their common conclusion.\n{arguments}",
            "{arguments}\nIn the debate on {debate}, what follows from all this?",
        ),
        slots={"debate": "debate", "arguments": "arguments"},
        change=_arguments,
    ),
)
