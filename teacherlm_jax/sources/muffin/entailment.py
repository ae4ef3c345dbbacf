"""Natural language inference: does one text follow from another?"""

from teacherlm_jax.sources.muffin.dataset import DataSet, FixedOptions, Prompt, labels, prompts

_THREE = ("Yes", "It is impossible to say", "No")  # entailment, neutral, contradiction
_TWO = ("Yes", "No")  # entailment, or not


def _follows(answer: FixedOptions) -> tuple[Prompt, ...]:
    return prompts(
        answer,
        "{premise}\n\nGiven only this, is the following claim true? {hypothesis}",
        "Text: {premise}\nStatement: {hypothesis}\nDoes the text support the statement?",
        "Suppose the following is true: {premise}\nDoes it follow that {hypothesis}",
        'Someone tells you: "{premise}" Can you conclude that "{hypothesis}"?',
        "Check the claim against the source.\nSource: {premise}\nClaim: {hypothesis}\n"
        "Is the claim supported?",
        "Someone who read the passage below says: {hypothesis}\nPassage: {premise}\n"
        "Are they right?",
        "Statement 1: {premise}\nStatement 2: {hypothesis}\nIf statement 1 is true, must "
        "statement 2 be true as well?",
        'Does "{hypothesis}" follow from this text?\n\n{premise}',
        "Using only the first sentence, decide about the second.\n1. {premise}\n2. {hypothesis}\n"
        "Is the second sentence correct?",
        "This is all we know: {premise}\nBased on that, would you say the following is true? "
        "{hypothesis}",
    )


_HYPOTHESIS = {"premise": "premise", "hypothesis": "hypothesis"}
_SENTENCES = {"premise": "sentence1", "hypothesis": "sentence2"}

SETS = (
    DataSet(
        name="anli",
        builders=("anli/r1/0.1.0", "anli/r2/0.1.0", "anli/r3/0.1.0"),
        prompts=_follows(FixedOptions("label", labels(*_THREE))),
        slots={"premise": "context", "hypothesis": "hypothesis"},
        large=True,
    ),
    DataSet(
        name="cb",
        builders=("super_glue/cb/1.0.2",),
        prompts=_follows(FixedOptions("label", {0: _THREE[0], 2: _THREE[1], 1: _THREE[2]})),
        slots=_HYPOTHESIS,
    ),
    DataSet(
        name="mnli",
        builders=("glue/mnli/2.0.0",),
        prompts=_follows(FixedOptions("label", labels(*_THREE))),
        slots=_HYPOTHESIS,
        large=True,
    ),
    DataSet(
        name="rte",
        builders=("super_glue/rte/1.0.2",),
        prompts=_follows(FixedOptions("label", labels(*_TWO))),
        slots=_HYPOTHESIS,
    ),
    DataSet(
        name="snli",
        builders=("snli/1.1.0",),
        prompts=_follows(FixedOptions("label", labels(*_THREE))),
        slots=_HYPOTHESIS,
        large=True,
    ),
    DataSet(
        name="wnli",
        builders=("glue/wnli/2.0.0",),
        prompts=_follows(FixedOptions("label", {1: "Yes", 0: "No"})),
        slots=_SENTENCES,
    ),
    DataSet(
        name="qnli",
        builders=("glue/qnli/2.0.0",),
        prompts=prompts(
            FixedOptions("label", labels(*_TWO)),
            "Question: {question}\nSentence: {sentence}\nDoes the sentence answer the question?",
            'Can you answer "{question}" using only this sentence? {sentence}',
            "Someone asks: {question}\nAn encyclopedia says: {sentence}\n"
            "Does the entry contain the answer?",
            "{sentence}\n\nAfter reading this, do you know the answer to the question below?\n"
            "{question}",
            "Decide whether the sentence contains the answer to the question.\nQuestion: "
            "{question}\n"
            "Sentence: {sentence}",
            'I searched for "{question}" and found this line: {sentence}\nIs it what I need?',
            "Does the sentence give the information that the question asks for?\n"
            "Sentence: {sentence}\nQuestion: {question}",
            "A quiz question reads: {question}\nYour notes read: {sentence}\n"
            "Do your notes answer it?",
            "Would this sentence be a complete answer to the question?\n{question}\n{sentence}",
            'Here is a fact: "{sentence}" Does it answer the question "{question}"?',
        ),
        slots={"question": "question", "sentence": "sentence"},
        large=True,
    ),
)
