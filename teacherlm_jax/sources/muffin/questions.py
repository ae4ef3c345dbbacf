"""Questions without a passage, and questions about the kind of a text or a word."""

from teacherlm_jax.sources.muffin.data_set import (
    Choice,
    DataSet,
    FixedOptions,
    Prompt,
    Row,
    Text,
    labels,
    prompts,
    text_at,
)


def _known(answer: Text | Choice) -> tuple[Prompt, ...]:
    return prompts(
        answer,
        "{question}",
        "Answer from what you know: {question}",
        "Here is a quiz question. {question}",
        "{question} Reply with the answer alone.",
        "Please tell me the answer to this: {question}",
        'A friend asks you: "{question}" What do you say?',
        "Answer without looking anything up. {question}",
        "Find the right answer.\n{question}",
        "In an examination you are asked the following.\n\n{question}",
        "What is the correct response to the question below?\n{question}",
    )


def _with_mark(row: Row) -> Row:
    return {**row, "question": text_at(row, "question").strip().removesuffix("?") + "?"}


_TREC = FixedOptions(
    "label-coarse",
    labels(
        "A description or definition",
        "A thing",
        "An abbreviation",
        "A person or group",
        "A number",
        "A place",
    ),
)
_COLA = FixedOptions("label", labels("Unacceptable", "Acceptable"))
_WIC = FixedOptions("label", labels("No", "Yes"))

SETS = (
    DataSet(
        name="arc",
        builders=("ai2_arc/ARC-Challenge/1.0.0", "ai2_arc/ARC-Easy/1.0.0"),
        prompts=_known(Choice("answerKey", ("choices.text",))),
        slots={"question": "question"},
    ),
    DataSet(
        name="natural_questions",
        builders=("natural_questions_open/1.0.0",),
        prompts=_known(Text("answer")),
        slots={"question": "question"},
        change=_with_mark,
        large=True,
    ),
    DataSet(
        name="trivia_qa",  # the same questions as its other variants have, without documents
        builders=("trivia_qa/rc.nocontext/1.1.0",),
        prompts=_known(Text("answer.value")),
        slots={"question": "question"},
        large=True,
    ),
    DataSet(
        name="trec",
        builders=("trec/1.0.0",),
        prompts=prompts(
            _TREC,
            "{text}\nWhat kind of answer does this question want?",
            "Sort the question by what it asks for: {text}",
            'When somebody asks "{text}", what are they after?',
            "Classify the following question by the type of its answer.\n{text}",
            "Question: {text}\nThe reply will be of which sort?",
            "Before a search engine answers, it guesses the answer's type. Guess it: {text}",
            'To which class does the question "{text}" belong?',
            "What should the answer to this be? {text}",
            "{text}\n\nA librarian files questions by the thing sought. Where does this one go?",
            "Don't answer, but say what an answer would name: {text}",
        ),
        slots={"text": "text"},
    ),
    DataSet(
        name="cola",
        builders=("glue/cola/2.0.0",),
        prompts=prompts(
            _COLA,
            "{sentence}\nIs this sentence acceptable English?",
            'Would a native speaker say "{sentence}"?',
            "Judge the grammar of this sentence: {sentence}",
            "A linguist marks odd sentences with a star. How does this one fare? {sentence}",
            "Is anything wrong with the wording here?\n{sentence}",
            "Sentence: {sentence}\nGrammatical judgement:",
            "Proofread: {sentence} Does it pass?",
            "Does the sentence below obey the rules of English?\n{sentence}",
            "{sentence}\nWell formed or not?",
            "How does this sound to a careful ear? {sentence}",
        ),
        slots={"sentence": "sentence"},
    ),
    DataSet(
        name="wic",
        builders=("super_glue/wic/1.0.2",),
        prompts=prompts(
            _WIC,
            '1. {first}\n2. {second}\nDoes "{word}" mean the same in both sentences?',
            'Look at "{word}" in these two sentences. Is it used in one sense?\n{first}\n{second}',
            "Word: {word}\nA: {first}\nB: {second}\nSame meaning?",
            'Would a dictionary file both uses of "{word}" under one entry?\n- {first}\n- {second}',
            '{first}\n{second}\n\nDo the two sentences share a sense of "{word}"?',
            'Compare how "{word}" is meant: "{first}" and "{second}". Is it meant alike?',
            'The word "{word}" has several senses. Do these examples show the same one?\n{first}\n'
            "{second}",
            'If you translated both, could you use one word for "{word}"?\n1) {first}\n2) {second}',
            'Is "{word}" in the first sentence what "{word}" is in the second?\nFirst: {first}\n'
            "Second: {second}",
            'Decide whether "{word}" keeps its meaning from one sentence to the next.\n{first}\n'
            "{second}",
        ),
        slots={"first": "sentence1", "second": "sentence2", "word": "word"},
    ),
)
