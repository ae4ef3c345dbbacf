"""Natural language inference: does one text follow from another?"""

from teacherlm_jax.sources.muffin.data_set import DataSet, FixedOptions, Prompt, labels, prompts

_THREE = ("Yes", "It cannot be told", "No")  # entailment, neutral, contradiction
_TWO = ("Yes", "No")  # entailment, or not


def _follows(answer: FixedOptions) -> tuple[Prompt, ...]:
    return prompts(
        answer,
        "{premise}\n\nGiven only this, is the following claim true? {hypothesis}",
        "Text: {premise}\nStatement: {hypothesis}\nDoes the text support the statement?",
        "Suppose that this is so: {premise}\nIs it then also the case that: {hypothesis}",
        'Somebody tells you: "{premise}" May you conclude from it: "{hypothesis}"',
        "Check the claim against the source.\nSource: {premise}\nClaim: {hypothesis}\n"
        "Is the claim borne out?",
        "A reader of the passage below maintains: {hypothesis}\nPassage: {premise}\n"
        "Is the reader right?",
        "First: {premise}\nSecond: {hypothesis}\nWhoever accepts the first, must they accept the "
        "second?",
        'Is "{hypothesis}" a consequence of what is said here?\n\n{premise}',
        "Judge the second sentence by the first alone.\n1. {premise}\n2. {hypothesis}\n"
        "Is the second one correct?",
        "Here is all that is known: {premise}\nOn these grounds, would you agree that this holds? "
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
            'Can "{question}" be answered from this sentence alone? {sentence}',
            "Somebody asks: {question}\nAn encyclopaedia says: {sentence}\n"
            "Is the answer contained in it?",
            "{sentence}\n\nAfter reading this, do you know the answer to the question below?\n"
            "{question}",
            "Decide whether the sentence holds what is asked for.\nAsked: {question}\n"
            "Sentence: {sentence}",
            'I searched for "{question}" and found this line: {sentence}\nIs it what I need?',
            "Is the information wanted by the question given in the sentence?\n"
            "Sentence: {sentence}\nQuestion: {question}",
            "A quiz question reads: {question}\nYour notes read: {sentence}\n"
            "Do your notes settle it?",
            "Would quoting this sentence be a full reply to the question?\n{question}\n{sentence}",
            'Take the fact "{sentence}". Does it resolve "{question}"?',
        ),
        slots={"question": "question", "sentence": "sentence"},
        large=True,
    ),
)
