"""Coreference: who or what does a pronoun or a blank refer to?"""

from teacherlm_jax.sources.muffin.dataset import Choice, DataSet, FixedOptions, labels, prompts

SETS = (
    DataSet(
        name="definite_pronoun_resolution",
        builders=("definite_pronoun_resolution/1.1.0",),
        prompts=prompts(
            Choice("label", ("candidates",)),
            '{sentence}\nWho or what does "{pronoun}" refer to?',
            'In "{sentence}", who or what does "{pronoun}" mean?',
            'Resolve the pronoun "{pronoun}": {sentence}',
            "Sentence: {sentence}\nPronoun: {pronoun}\nIt refers to:",
            'If you replaced "{pronoun}" with a noun, which noun would it be? {sentence}',
            '{sentence} Which of these does "{pronoun}" refer to?',
            'Someone did not understand what "{pronoun}" refers to. Explain it to '
            "them.\n{sentence}",
            'Choose what "{pronoun}" refers to in this sentence.\n{sentence}',
            'Who or what does the author mean by "{pronoun}"? {sentence}',
            'Read carefully: {sentence}\nWhat does the word "{pronoun}" stand for?',
        ),
        slots={"sentence": "sentence", "pronoun": "pronoun"},
    ),
    DataSet(
        name="winogrande",
        builders=("winogrande/1.2.0",),
        prompts=prompts(
            Choice("label", ("option1", "option2")),
            "{sentence}\nWhat goes in place of the underscore?",
            "Fill in the blank (_): {sentence}",
            "Which of the two options fits the sentence? {sentence}",
            'In the sentence "{sentence}", which option should replace the _?',
            "{sentence}\nDecide who or what the _ refers to.",
            "Complete the sentence so that it makes sense: {sentence}",
            "One option completes the sentence and the other makes no sense. Choose. {sentence}",
            "Sentence with a blank: {sentence}\nThe blank should be:",
            "What did the author write in place of the _ here? {sentence}",
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
            '{text}\nDoes "{second}" refer to "{first}" here?',
            'In the passage "{text}", is "{first}" what "{second}" refers to?',
            "Text: {text}\nPronoun: {second}\nCandidate: {first}\nDo they refer to the same thing?",
            'Could you replace "{second}" with "{first}" in this text without changing what it '
            "says? {text}",
            '{text} Does the author use "{second}" to talk about {first}?',
            'Check this interpretation: "{second}" = "{first}".\n{text}',
            'A reader thinks that "{second}" means "{first}". Is that right?\n{text}',
            'Do "{first}" and "{second}" refer to the same thing in this text? {text}',
            'Someone asks whether "{second}" is {first}. What do you answer?\n{text}',
            'Decide whether the author means {first} by "{second}".\n\n{text}',
        ),
        slots={"text": "text", "first": "span1_text", "second": "span2_text"},
    ),
)
