"""Generated five-element samples whose explanations are true by construction and can be checked.

Nine families of small reasoning problems, worded from a closed vocabulary of about 240 words, for
the quickstart and for tests: a tiny model can learn them from scratch, and a program can say
whether what a teacher wrote about one of them is right.
"""

from teacherlm_jax.data.synthetic.checking import Verdict, check
from teacherlm_jax.data.synthetic.families import FAMILIES
from teacherlm_jax.data.synthetic.generating import AUTHOR, SPLITS, generate

__all__ = ["AUTHOR", "FAMILIES", "SPLITS", "Verdict", "check", "generate"]
