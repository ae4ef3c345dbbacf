"""Evaluation questions found in training texts, and near misses that are not."""

import pytest

from teacherlm_jax.sources.duplicates import bare_question, words
from teacherlm_jax.sources.shared_words import QuestionWords, TrainingText

OCELOT = "Could an ocelot outrun a kindergartner?"
FACTS = (
    "Fact 1: An ocelot can run fast. Fact 2: Kindergartners are children. Given these facts above,"
)
LONG = (
    "A shop sells apples at three for two dollars and pears at four for three dollars. "
    "How much do nine apples and eight pears cost?"
)


def found(questions, text):
    """Return the indices of the questions that occur in a text."""
    return {shared.question for shared in QuestionWords(questions).found_in(TrainingText(text))}


@pytest.mark.parametrize(
    "text",
    [
        "Q: Could an ocelot outrun a kindergartner? A: yes",
        "Q: could an OCELOT  outrun\na kindergartner (A) True (B) False A: The answer is (A).",
        "Q: could an ocelot outrun a kindergartner A: yes",
        f"Q: {FACTS} could an ocelot outrun a kindergartner? (A) True (B) False",
        "People asked: “Could an ocelot outrun a kindergartner” … and nobody knew.",
        "could an ocelot outrun a kindergartner",
    ],
)
def test_a_short_question_is_found_whatever_its_case_punctuation_and_surroundings(text):
    assert found([OCELOT, "Is water wet today?"], text) == {0}
    assert found([f"{FACTS} {OCELOT.lower()}"], text) == {0}


@pytest.mark.parametrize(
    "text",
    [
        "Q: Could an ocelot outrun a kindergartner in a sack race? A: yes",
        "Q: Tell me, if a lynx can, could an ocelot outrun a kindergartner carrying a bag?",
        "Q: How could an ocelot outrun a kindergartner? A: easily",
        "Q: Could an ocelot outrun a preschooler? A: yes",
        "Q: Could a kindergartner outrun an ocelot? A: no",
        "Q: Could an ocelot outrun? A: a kindergartner?",
        f"Q: {FACTS} could a lynx outrun a child? A: yes",
    ],
)
def test_near_misses_of_a_short_question_are_not_found(text):
    assert found([OCELOT], text) == set()
    assert found([f"{FACTS} {OCELOT.lower()}"], text) == set()


def test_thirteen_words_of_a_long_question_are_enough_and_twelve_are_not():
    own = words(LONG)
    assert len(own) > 20
    assert found([LONG], "well " + " ".join(own[4:17]) + " indeed") == {0}
    assert found([LONG], "well " + " ".join(own[4:16]) + " indeed") == set()


def test_a_long_question_with_another_word_in_every_thirteen_is_not_found():
    own = words(LONG)
    own[::13] = ["other"] * len(own[::13])
    assert found([LONG], " ".join(own)) == set()


def test_a_question_of_thirteen_words_is_whole_and_a_longer_one_is_not():
    own = words(LONG)
    for size, whole in ((13, True), (14, False)):
        text = TrainingText(f"so {' '.join(own[:size])} so")
        first, *_ = QuestionWords([" ".join(own[:size])]).found_in(text)
        assert (first.whole, first.text) == (whole, " ".join(own[:13]))


def test_words_that_all_questions_share_flag_none_of_them():
    template = "Read the following statement with care and then say if it is right or wrong:"
    own = [f"thing {number} is bigger than thing {number + 1} by {number}" for number in range(12)]
    questions = [f"{template} {text}" for text in own]
    assert found(questions, f"Q: {template} snow is white. A: right") == set()
    assert found(questions, f"Q: {template} {own[3]}. A: right") == {3}


def test_questions_without_words_of_their_own_are_counted_and_not_compared():
    same = ["Which of the following statements is true?"] * 12
    questions = QuestionWords([*same, "Why?", "", OCELOT])
    assert questions.too_short == [12, 13]
    assert questions.common == list(range(12))
    text = TrainingText("Q: Which of the following statements is true? Why? A: none")
    assert list(questions.found_in(text)) == []


def test_a_question_that_a_few_questions_repeat_is_found_for_each():
    assert found([OCELOT, OCELOT.upper(), "Is water wet today?"], f"Q: {OCELOT} A: yes") == {0, 1}


def test_fixed_words_and_facts_before_a_question_are_not_part_of_it():
    assert bare_question(f"{FACTS} could it?") == "could it?"
    asked = "Determine the correctness of the following sentence. Ice is cold."
    assert bare_question(asked) == "Ice is cold."
    assert bare_question("Given these facts above,") == "Given these facts above,"
    assert bare_question("Is ice cold?") == "Is ice cold?"


def test_a_statement_with_facts_in_training_is_not_found_by_its_facts():
    facts = "Fact 1: The ocelot is a small wild cat that lives in the forests of the Americas."
    question = f"{facts} Given these facts above, could it live in Canada today?"
    assert found([question], f"Q: {facts} Given these facts above, is it a cat? A: yes") == set()
