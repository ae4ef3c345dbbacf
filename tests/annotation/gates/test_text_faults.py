"""Texts with one fault each, and texts that are close to one and have none."""

import pytest

from teacherlm_jax.annotation.gates import text_faults

THRICE = (  # a sentence three times, in a text that mostly says other things
    "A bee has a heart. It is a long tube near the back of the body, and it pumps the blood. "
    "A bee has a heart. Mammals have four chambers in theirs, and lungs that send blood to it. "
    "A bee has a heart. So the number of chambers in the statement is not right for an insect."
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("one two three", False),
        ("It is very, very, very cold.", False),
        ("so so so so", True),
        ("So, so, so. So it goes.", True),
        ("the cat sat the cat sat", False),
        ("the cat sat the cat sat the cat sat", True),
        ("2 * 2 * 2 * 2 * 2 = 32", False),
        ("2x * 2x * 2x * 2x = 16 x^4", False),
        ("0 0 0 0 0 0 0", False),
        ("0 0 0 0 0 0 0 0", True),
        ("* * * * * * * * * *", False),
        ("5 cars + 5 cars + 5 cars", False),
        ("Bees fly. It is warm. Bees fly. It is warm.", False),  # sentences under four words
        ("A bee has a heart. Birds sing. A bee has a heart. Dogs bark. Cats sleep all day.", False),
        ("A bee has a heart. A bee has a heart.", True),
        (
            "A bee has a heart. It is a tube. A bee has a heart. So it pumps. A bee has a heart.",
            True,
        ),
        (THRICE, True),
        (THRICE.replace("A bee has a heart", "A bee hums", 1), False),
        (" ".join(f"Then we go to room {n} again." for n in range(6)), False),
        (" ".join(f"Then we go to room {n} again." for n in range(7)), True),
        ("hahahahahaha", False),
        ("hahahahahahahaha", True),
        ("Noooooooo!", True),
        ("1000000000000 is a large number", False),
        ("所以所以所以所以所以所以所以所以", True),
        ("猫有四条腿。狗也有四条腿。", False),
        ("猫有四条腿。猫有四条腿。", True),
    ],
)
def test_a_loop_is_told_from_emphasis_and_formulas(text, expected):
    assert text_faults.repeats_itself(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("Plain text, with marks; “quotes” – and 3 × 4 = 12.\n\tA second line.", False),
        ("नमस्ते दुनिया, यह हिन्दी है", False),
        ("Line\r\nbreaks\x85 of all systems", False),
        ("one \ufffd", True),
        ("a\x00b", True),
        ("\x1b[0m red", True),
        ("private \ue012", True),
        ("not a character \uffff", True),
        ("6 * 7 = 42", False),
        ("((((((((((", False),  # short
        ("!@#$ %^&* ()_+ {}|: <>?~ abc", True),
        ("7 * (2 + 3) = 35, 35 / 5 = 7", False),
        ("🙂" * 20, True),
    ],
)
def test_broken_characters_and_mere_symbols_are_garbage(text, expected):
    assert text_faults.is_garbled(text) is expected


ENGLISH = "Where do cats sleep?"
RUSSIAN = "Где спят кошки? В доме или в parking?"


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("They sleep in a house.", ENGLISH, False),
        ("Они спят в доме.", ENGLISH, True),
        ("Они спят в доме.", RUSSIAN, False),
        ("Они спят в доме.", f"{ENGLISH} The Russian word is 'в'.", True),
        ("They sleep in a house.", RUSSIAN, False),  # a quarter of the letters are Latin
        ("They sleep in a house.", RUSSIAN.replace("parking", "гараже"), True),
        ("They sleep, по-русски спят, in a house.", ENGLISH, True),
        ("They sleep (in Russian: спят) in a warm house.", ENGLISH, False),
        ("2πr, so 4π", ENGLISH, False),  # two letters
        ("Έτσι είναι.", ENGLISH, True),
        ("寝ています。カタカナ", "猫はどこで寝ますか", False),
        ("寝ています", "猫在哪里睡觉", False),
        ("They sleep.", "猫在哪里睡觉", True),
        ("Ｆｕｌｌ width", ENGLISH, False),
        ("Они спят.", "2 + 2 = 4", False),
        ("12 + 3", ENGLISH, False),
        ("", ENGLISH, False),
    ],
)
def test_letters_of_scripts_that_the_reference_lacks_are_foreign(text, reference, expected):
    assert text_faults.is_foreign(text, reference) is expected


@pytest.mark.parametrize(
    ("text", "reference", "share"),
    [
        ("", "a b c", 0.0),
        ("?!", "a b c", 0.0),
        ("A, b: C!", "a b c", 1.0),
        ("a b x a b", "a b c", 0.0),
        ("a b c d e f", "a b c", 0.5),
        ("a b c d e f", "x a b c d y", 4 / 6),
        ("b c", "a b c", 1.0),
        ("c b", "a b c", 0.0),
        ("猫在睡觉吗", "猫在睡觉", 4 / 5),
    ],
)
def test_words_in_shared_sequences_of_three_are_copied(text, reference, share):
    assert text_faults.copied_share(text, reference) == pytest.approx(share)
