"""Sizes of the paper's datasets, with which a dry run estimates hours and storage.

Samples, and tokens of explanations, are the paper's (Table 2). Guesses are the tokens of questions
with their answers, of all that the teacher's six mixtures hold, and the samples of the original P3,
from the sizes of its datasets and the numbers of their prompts.
"""

from teacherlm_jax.config import paper_models

MULTI = "multi"  # P3-Sense-3K
SAMPLES = {
    MULTI: 1_400_364,
    "creak": 10_174,
    "ecqa": 7_598,
    "strategyqa": 1_832,
    paper_models.ORIGINAL: 10**8,
}
QUESTION = {MULTI: 250, "creak": 40, "ecqa": 60, "strategyqa": 30, paper_models.ORIGINAL: 250}
_EXPLANATION = {  # tokens of a chain of thought, fundamentals and common mistakes
    MULTI: {"C": 49, "F": 135, "M": 54},
    "creak": {"C": 71, "F": 190, "M": 48},
    "ecqa": {"C": 75, "F": 186, "M": 53},
    "strategyqa": {"C": 90, "F": 192, "M": 55},
}
TEACHER_SAMPLES, TEACHER_TOKENS = SAMPLES[MULTI] + 1_155_767 + 2_000_000, 6e9
_QUESTIONS = {"creak": 1_371, "ecqa": 2_194, "strategyqa": 228, "mmlu": 14_042}  # of benchmarks
EVALUATED = 150  # tokens of a question with its options


def student_tokens(samples: str, form: str) -> int:
    """Return the tokens of samples, a key of SAMPLES, in a text form."""
    letters = {"text": "", "shuffle": "CFM", paper_models.ORIGINAL: ""}.get(form, form)
    lengths = _EXPLANATION.get(samples, {})
    return SAMPLES[samples] * (QUESTION[samples] + sum(lengths[letter] for letter in letters))


def questions(model: str) -> int:
    """Return the questions on which the paper evaluates a model."""
    return sum(_QUESTIONS[benchmark] for benchmark in paper_models.benchmarks_of(model))
