"""Questions without a passage, and questions about the type of a text or the use of a word."""

from teacherlm_jax.sources.muffin.dataset import (
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
        "{question} Reply with just the answer.",
        "Please tell me the answer to this: {question}",
        'A friend asks you: "{question}" What do you say?',
        "Answer without looking anything up. {question}",
        "Find the correct answer.\n{question}",
        "You get this question in an exam.\n\n{question}",
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
        name="trivia_qa",  # the questions of its other variants, without their documents
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
            "{text}\nWhat kind of answer does this question ask for?",
            "Classify the question by what it asks for: {text}",
            'When someone asks "{text}", what do they want to know?',
            "Classify the following question by the type of its answer.\n{text}",
            "Question: {text}\nWhat type of answer does it need?",
            "Before it answers, a search engine predicts the answer type. Predict it: {text}",
            'Which category does the question "{text}" belong to?',
            "What should the answer to this question be? {text}",
            "{text}\n\nA librarian sorts questions by what they ask for. Where does this one go?",
            "Don't answer this question, but say what kind of thing the answer would be: {text}",
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
            "A linguist marks ungrammatical sentences with a star. How would you label this one? "
            "{sentence}",
            "Is there anything wrong with this sentence?\n{sentence}",
            "Sentence: {sentence}\nGrammaticality judgment:",
            "Proofread this sentence: {sentence} Is it correct?",
            "Does the sentence below follow the rules of English grammar?\n{sentence}",
            "{sentence}\nIs it well-formed?",
            "How does this sound to a native speaker? {sentence}",
        ),
        slots={"sentence": "sentence"},
    ),
    DataSet(
        name="wic",
        builders=("super_glue/wic/1.0.2",),
        prompts=prompts(
            _WIC,
            '1. {first}\n2. {second}\nDoes "{word}" mean the same thing in both sentences?',
            'Look at "{word}" in these two sentences. Is it used in the same '
            "sense?\n{first}\n{second}",
            "Word: {word}\nA: {first}\nB: {second}\nSame meaning?",
            'Would a dictionary list both uses of "{word}" under the same definition?\n- '
            "{first}\n- {second}",
            '{first}\n{second}\n\nDo the two sentences use "{word}" in the same sense?',
            'Compare how "{word}" is meant: "{first}" and "{second}". Does it mean the same '
            "thing in both?",
            'The word "{word}" has several senses. Do these examples use the same one?\n{first}\n'
            "{second}",
            'If you translated both, could you use one word for "{word}"?\n1) {first}\n2) {second}',
            'Is the "{word}" in the first sentence the same as the "{word}" in the '
            "second?\nFirst: {first}\n"
            "Second: {second}",
            'Decide whether "{word}" has the same meaning in both sentences.\n{first}\n{second}',
        ),
        slots={"first": "sentence1", "second": "sentence2", "word": "word"},
    ),
)
