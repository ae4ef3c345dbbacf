"""Reading comprehension: questions about a passage, with and without common sense."""

from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.sources.muffin.data_set import (
    Among,
    Choice,
    DataSet,
    FixedOptions,
    Prompt,
    Row,
    Text,
    labels,
    prompts,
    text_at,
    texts_at,
)

_UNANSWERABLE = "The passage does not say."
_NO_YES = labels("No", "Yes")
_BLANK = "_____"


def _about_passage(answer: Text | Choice | FixedOptions) -> tuple[Prompt, ...]:
    return prompts(
        answer,
        "{passage}\n\n{question}",
        "Passage: {passage}\nQuestion: {question}",
        "Read this and answer the question after it.\n{passage}\n{question}",
        "{question}\nLook for the answer here: {passage}",
        "Going by the text below: {question}\n\n{passage}",
        "Text: {passage}\nWhat does it tell us about this? {question}",
        "Here is a passage. {passage}\nNow answer: {question}",
        "I have a question: {question} This is what I have read: {passage}",
        "Study the passage, then reply to the question.\n\n{passage}\n\nQ. {question}",
        "Let the following text be your only source: {passage}\n{question}",
    )


def _squad(row: Row) -> Row:
    """Questions that the passage leaves open have no answers in SQuAD 2.0."""
    given = texts_at(row, "answers.text")
    return {**row, "answer": given[0] if given else _UNANSWERABLE}


def _record(row: Row) -> Row:
    """The article, its highlights as plain lines, and the place of the name as a blank."""
    return {
        **row,
        "passage": text_at(row, "passage").replace("@highlight\n", ""),
        "query": text_at(row, "query").replace("@placeholder", _BLANK),
    }


def _quac(row: Row) -> Row:
    passage = text_at(row, "context").strip().removesuffix("CANNOTANSWER")
    answer = text_at(row, "orig_answer.text")
    return {
        **row,
        "passage": passage,
        "answer": _UNANSWERABLE if answer == "CANNOTANSWER" else answer,
    }


def _coqa(row: Row) -> Row:
    """The last question of a conversation, and all that was said before it."""
    questions, answers = texts_at(row, "questions"), texts_at(row, "answers.input_text")
    if not questions or len(questions) != len(answers):
        raise SampleError(f"{len(questions)} questions, {len(answers)} answers")
    said = [f"- {asked} {told}" for asked, told in zip(questions, answers, strict=True)]
    return {
        "story": text_at(row, "story"),
        "said": "\n".join(said[:-1]) or "(nothing yet)",
        "question": questions[-1],
        "answer": answers[-1],
    }


SETS = (
    DataSet(
        name="bool_q",
        builders=("bool_q/1.0.0",),
        prompts=_about_passage(FixedOptions("answer", _NO_YES)),
        slots={"passage": "passage", "question": "question"},
        change=lambda row: {**row, "question": text_at(row, "question").strip() + "?"},
    ),
    DataSet(
        name="drop",
        builders=("drop/2.0.0",),
        prompts=_about_passage(Text("answer")),
        slots={"passage": "passage", "question": "question"},
        large=True,
    ),
    DataSet(
        name="squad",  # version 2.0 has all questions of 1.1, and such as have no answer
        builders=("squad/v2.0/3.0.0",),
        prompts=_about_passage(Text("answer")),
        slots={"passage": "context", "question": "question"},
        change=_squad,
        large=True,
    ),
    DataSet(
        name="cosmos_qa",
        builders=("cosmos_qa/1.0.0",),
        prompts=_about_passage(Choice("label", ("answer0", "answer1", "answer2", "answer3"))),
        slots={"passage": "context", "question": "question"},
    ),
    DataSet(
        name="quac",
        builders=("quac/1.0.0",),
        prompts=prompts(
            Text("answer"),
            "{passage}\n\nAbout {title}: {question}",
            "A student asks about {title} ({section}): {question}\nThe teacher has this text: "
            "{passage}",
            "From an article on {title}.\n{passage}\n{question}",
            "Subject: {title}, {section}\nText: {passage}\nQuestion: {question}",
            "In a conversation about {title} somebody wants to know: {question}\nQuote the answer "
            "from here: {passage}",
            "Reading about {title}:\n{passage}\n\nReply to this: {question}",
            "{question}\n(The talk is of {title}; this is known: {passage})",
            'The section "{section}" of the page on {title} says: {passage}\nSo: {question}',
            "Find the words in the text that answer the question on {title}.\nText: {passage}\n"
            "Question: {question}",
            "Background: {passage}\nWith {title} in mind: {question}",
        ),
        slots={
            "passage": "passage",
            "question": "question",
            "title": "title",
            "section": "section_title",
        },
        change=_quac,
        large=True,
    ),
    DataSet(
        name="coqa",
        builders=("coqa/1.0.0",),
        prompts=prompts(
            Text("answer"),
            "{story}\n\nSaid so far:\n{said}\nNext question: {question}",
            "Story: {story}\nTalk about it:\n{said}\n- {question}",
            "Two people talk about a text.\nText: {story}\nTheir talk:\n{said}\nNow one asks: "
            "{question}",
            "Answer the last question of the conversation.\n{story}\n{said}\n- {question}",
            "{story}\n\nThese questions have been answered:\n{said}\nThis one has not: {question}",
            "Keep the dialogue going.\nSource: {story}\nDialogue:\n{said}\n- {question}",
            "After reading\n{story}\nand hearing\n{said}\nwhat do you answer to: {question}",
            "The text: {story}\nEarlier questions with answers:\n{said}\nWhat is the answer to "
            "this one? {question}",
            "Use the story and what was said before.\n{said}\n- {question}\nStory: {story}",
            "An interview on a text goes like this:\n{said}\n- {question}\nWhat is the reply, if "
            "the text is the following? {story}",
        ),
        slots={"story": "story", "said": "said", "question": "question"},
        change=_coqa,
    ),
    DataSet(
        name="multirc",
        builders=("super_glue/multirc/1.0.2",),
        prompts=prompts(
            FixedOptions("label", _NO_YES),
            '{passage}\n\n{question}\nIs "{reply}" a right answer?',
            "Passage: {passage}\nQuestion: {question}\nProposed: {reply}\nCorrect?",
            "{passage}\nA pupil was asked: {question} The pupil said: {reply}\nDo you mark it as "
            "right?",
            'May one answer "{question}" with "{reply}", going by this text? {passage}',
            "Check a reply against the passage.\n{passage}\nAsked: {question}\nReply: {reply}",
            "{question}\n{reply}\nDoes the text below bear this answer out?\n{passage}",
            "Several answers can be right. Is this one of them?\nText: {passage}\nQuestion: "
            "{question}\nAnswer: {reply}",
            "Given: {passage}\nIs it true that the answer to “{question}” is “{reply}”?",
            "Grade the answer by the text.\nText: {passage}\n{question} — {reply}",
            "Read: {passage}\nThen judge whether {reply} answers {question}",
        ),
        slots={"passage": "paragraph", "question": "question", "reply": "answer"},
    ),
    DataSet(
        name="openbookqa",
        builders=("openbookqa/0.1.0",),
        prompts=prompts(
            Choice(
                "answerKey",
                tuple(f"question.choice_{letter}" for letter in "ABCD"),
            ),
            "Fact: {fact}\n{question}",
            "Remember that {fact}. {question}",
            "{question}\nIt helps to know that {fact}.",
            "Use the fact to choose.\nFact: {fact}\nQuestion: {question}",
            "From a science book: {fact}. Now: {question}",
            "Knowing this — {fact} — how do you answer? {question}",
            "{fact}\n\nApply it here: {question}",
            "A teacher explains that {fact} and then asks: {question}",
            "Which choice agrees with the fact that {fact}?\n{question}",
            "Question: {question}\nHint: {fact}",
        ),
        slots={"fact": "fact1", "question": "question.stem"},
    ),
    DataSet(
        name="record",
        builders=("super_glue/record/1.0.2",),
        prompts=prompts(
            Among("answers", "entities"),
            "{passage}\n\n{query}\nWhat belongs in the blank?",
            "Article: {passage}\nFill the gap: {query}",
            "Who or what is left out here?\n{query}\nThe news says: {passage}",
            "{passage}\nA name is missing from this sentence about it: {query}",
            "Read the report, then complete the sentence.\n{passage}\nSentence: {query}",
            "Complete with one of the names: {query}\nSource: {passage}",
            "Which name makes this true of the article?\n{query}\n\n{passage}",
            "News: {passage}\nSummary with a gap: {query}\nThe gap stands for whom or what?",
            "A printer lost a word: {query}\nRestore it from the story: {passage}",
            "In the light of the text, supply the missing name.\nText: {passage}\n{query}",
        ),
        slots={"passage": "passage", "query": "query"},
        change=_record,
        large=True,
    ),
)
