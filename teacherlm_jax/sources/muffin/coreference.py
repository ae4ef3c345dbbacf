"""Coreference: whom or what does a pronoun or a gap stand for?"""

from teacherlm_jax.sources.muffin.data_set import Choice, DataSet, FixedOptions, labels, prompts

SETS = (
    DataSet(
        name="definite_pronoun_resolution",
        builders=("definite_pronoun_resolution/1.1.0",),
        prompts=prompts(
            Choice("label", ("candidates",)),
            '{sentence}\nWhom or what does "{pronoun}" stand for?',
            'In "{sentence}", who or what is meant by "{pronoun}"?',
            'Resolve the pronoun "{pronoun}": {sentence}',
            "Sentence: {sentence}\nPronoun: {pronoun}\nIt refers to:",
            'If you replaced "{pronoun}" by a noun, which would it be? {sentence}',
            '{sentence} Here "{pronoun}" points back to which of these?',
            'Somebody did not understand whom "{pronoun}" means. Explain.\n{sentence}',
            'Choose what "{pronoun}" refers to in this sentence.\n{sentence}',
            'Who or what does the writer have in mind with "{pronoun}"? {sentence}',
            'Read closely: {sentence}\nThe word "{pronoun}" is short for what?',
        ),
        slots={"sentence": "sentence", "pronoun": "pronoun"},
    ),
    DataSet(
        name="winogrande",
        builders=("winogrande/1.2.0",),
        prompts=prompts(
            Choice("label", ("option1", "option2")),
            "{sentence}\nWhat goes where the underscore is?",
            "Fill in the gap (_): {sentence}",
            "Which of the two fits the sentence? {sentence}",
            'In "{sentence}" the sign _ hides one of two words. Which?',
            "{sentence}\nDecide who or what the _ stands for.",
            "Make the sentence sensible: {sentence}",
            "One of these completes the sentence, the other contradicts it. {sentence}",
            "Sentence with a gap: {sentence}\nThe gap is filled by:",
            "What did the writer put in place of _ here? {sentence}",
            "Think about who did what and why, then replace the _.\n{sentence}",
        ),
        slots={"sentence": "sentence"},
        split="train_xl",
        large=True,
    ),
    DataSet(
        name="wsc",
        builders=("super_glue/wsc/1.0.2",),
        prompts=prompts(
            FixedOptions("label", labels("No", "Yes")),
            '{text}\nDoes "{second}" mean "{first}" here?',
            'In the passage "{text}", is "{first}" what "{second}" refers to?',
            "Text: {text}\nPronoun: {second}\nCandidate: {first}\nDo they name the same?",
            'May one put "{first}" for "{second}" in this text without changing what it says? '
            "{text}",
            '{text} Is it {first} that the words "{second}" speak of?',
            'Check the reading: "{second}" = "{first}".\n{text}',
            'A reader takes "{second}" to be "{first}". Rightly so?\n{text}',
            'Do "{first}" and "{second}" stand for one and the same in what follows? {text}',
            'Somebody asks whether "{second}" is {first}. What do you reply?\n{text}',
            'Decide if the author means {first} by "{second}".\n\n{text}',
        ),
        slots={"text": "text", "first": "span1_text", "second": "span2_text"},
    ),
)
