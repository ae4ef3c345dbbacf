"""Reading comprehension: questions about a passage, with and without common sense."""

from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.sources.muffin.dataset import (
    Choice,
    DataSet,
    FixedOptions,
    ListedOptions,
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
        "Read this and answer the question.\n{passage}\n{question}",
        "{question}\nFind the answer here: {passage}",
        "Based on the text below: {question}\n\n{passage}",
        "Text: {passage}\nWhat does the text say about this? {question}",
        "Here is a passage. {passage}\nNow answer: {question}",
        "I have a question: {question} Here is what I read: {passage}",
        "Study the passage, then answer the question.\n\n{passage}\n\nQ. {question}",
        "Use only the following text: {passage}\n{question}",
    )


def _squad(row: Row) -> Row:
    """Fill in the answer to questions that SQuAD 2.0 marks as unanswerable."""
    answers = texts_at(row, "answers.text")
    return {**row, "answer": answers[0] if answers else _UNANSWERABLE}


def _record(row: Row) -> Row:
    """Turn the highlights into plain lines, and the placeholder into a blank."""
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
    """Take the last question of a conversation, with everything said before it."""
    questions, answers = texts_at(row, "questions"), texts_at(row, "answers.input_text")
    if not questions or len(questions) != len(answers):
        raise SampleError(f"{len(questions)} questions, {len(answers)} answers")
    said = [f"- {question} {answer}" for question, answer in zip(questions, answers, strict=True)]
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
        name="squad",  # version 2.0 has all questions of 1.1, and unanswerable ones
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
            "From an article about {title}.\n{passage}\n{question}",
            "Subject: {title}, {section}\nText: {passage}\nQuestion: {question}",
            "In a conversation about {title}, someone asks: {question}\nQuote the answer from this "
            "text: {passage}",
            "You are reading about {title}.\n{passage}\n\nAnswer this: {question}",
            "{question}\n(The topic is {title}. Here is what we know: {passage})",
            'The section "{section}" of the page on {title} says: {passage}\nQuestion: {question}',
            "Find the words in the text that answer the question about {title}.\nText: {passage}\n"
            "Question: {question}",
            "Background: {passage}\nAbout {title}: {question}",
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
            "{story}\n\nConversation so far:\n{said}\nNext question: {question}",
            "Story: {story}\nConversation about it:\n{said}\n- {question}",
            "Two people are talking about a text.\nText: {story}\nConversation:\n{said}\nNow one "
            "asks: "
            "{question}",
            "Answer the last question of the conversation.\n{story}\n{said}\n- {question}",
            "{story}\n\nThese questions have already been answered:\n{said}\nAnswer this one: "
            "{question}",
            "Continue the dialogue.\nSource: {story}\nDialogue:\n{said}\n- {question}",
            "You have read this:\n{story}\nand heard this:\n{said}\nHow do you answer: {question}",
            "Text: {story}\nEarlier questions and answers:\n{said}\nWhat is the answer to "
            "this one? {question}",
            "Use the story and the conversation so far.\n{said}\n- {question}\nStory: {story}",
            "An interview about a text goes like this:\n{said}\n- {question}\nWhat is the answer? "
            "Here is the text: {story}",
        ),
        slots={"story": "story", "said": "said", "question": "question"},
        change=_coqa,
    ),
    DataSet(
        name="multirc",
        builders=("super_glue/multirc/1.0.2",),
        prompts=prompts(
            FixedOptions("label", _NO_YES),
            '{passage}\n\n{question}\nIs "{reply}" a correct answer?',
            "Passage: {passage}\nQuestion: {question}\nProposed answer: {reply}\nIs it correct?",
            "{passage}\nA student was asked: {question} The student said: {reply}\nDo you mark "
            "it as "
            "correct?",
            'Based on this text, can you answer "{question}" with "{reply}"? {passage}',
            "Check the answer against the passage.\n{passage}\nQuestion: {question}\nAnswer: "
            "{reply}",
            "{question}\n{reply}\nDoes the text below support this answer?\n{passage}",
            "More than one answer can be correct. Is this one of them?\nText: {passage}\nQuestion: "
            "{question}\nAnswer: {reply}",
            "Given: {passage}\nIs it true that the answer to “{question}” is “{reply}”?",
            "Grade the answer using the text.\nText: {passage}\n{question} — {reply}",
            "Read this: {passage}\nThen decide whether {reply} answers the question: {question}",
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
            "Keep in mind that {fact}. {question}",
            "{question}\nIt helps to know that {fact}.",
            "Use the fact to choose an answer.\nFact: {fact}\nQuestion: {question}",
            "From a science book: {fact}. Now: {question}",
            "Knowing this — {fact} — how do you answer? {question}",
            "{fact}\n\nApply it here: {question}",
            "A teacher explains that {fact} and then asks: {question}",
            "Which choice is consistent with the fact that {fact}?\n{question}",
            "Question: {question}\nHint: {fact}",
        ),
        slots={"fact": "fact1", "question": "question.stem"},
    ),
    DataSet(
        name="record",
        builders=("super_glue/record/1.0.2",),
        prompts=prompts(
            ListedOptions("answers", "entities"),
            "{passage}\n\n{query}\nWhat goes in the blank?",
            "Article: {passage}\nFill in the blank: {query}",
            "Who or what is missing here?\n{query}\nThe article says: {passage}",
            "{passage}\nThis sentence about it is missing a name: {query}",
            "Read the report, then complete the sentence.\n{passage}\nSentence: {query}",
            "Complete the sentence with one of the names: {query}\nSource: {passage}",
            "Which name makes this sentence true?\n{query}\n\n{passage}",
            "News: {passage}\nSummary with a blank: {query}\nWho or what is the blank?",
            "A name got lost in printing: {query}\nRestore it from the story: {passage}",
            "Based on the text, fill in the missing name.\nText: {passage}\n{query}",
        ),
        slots={"passage": "passage", "query": "query"},
        change=_record,
        large=True,
    ),
)
