"""Generated five-element samples whose explanations are correct by construction.

There are nine families of small reasoning problems with a vocabulary of about 240 words, for the
quickstart and for tests: a tiny model can learn them from scratch, and a program can check the
explanations that a teacher writes for them.
"""

from teacherlm_jax.data.synthetic.checking import Verdict, check
from teacherlm_jax.data.synthetic.families import FAMILIES
from teacherlm_jax.data.synthetic.generating import AUTHOR, SPLITS, generate, write

__all__ = ["AUTHOR", "FAMILIES", "SPLITS", "Verdict", "check", "generate", "write"]
