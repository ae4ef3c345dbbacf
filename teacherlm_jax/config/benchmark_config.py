"""Settings of one dataset for rank classification."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, plain, required
from teacherlm_jax.config.names import NAME, REDUCTIONS
from teacherlm_jax.config.prepare_config import SourceConfig


@dataclasses.dataclass
class BenchmarkConfig(SourceConfig):
    """One dataset for rank classification: a source whose samples have options."""

    name: str = required(help="name in results and file names")
    limit_by: str = choice(
        *("first", "seed"),
        help="rows that `limit` keeps: the first ones, or a random subset, the same one in every "
        "evaluation",
    )
    style: str = choice(
        *("clean", "authors"),
        help="prompt: 'clean' is the template of the training examples, 'authors' copies the "
        "evaluation code of the TeacherLM authors (ECQA repeats `Q: `, MMLU keeps whitespace "
        "around questions, no special token begins a prompt)",
    )
    score: str = choice(
        *("letters", "texts"),
        help="scored part of an option: its letter, after `A: The answer is (` and with all "
        "options in the prompt, or its text, after `A:` and without them",
    )
    reduction: str = choice(
        *REDUCTIONS,
        help="score of an option from the log-probabilities of its tokens: their 'mean' (equation "
        "1 of the paper), their 'sum', the sum divided by the number of 'bytes' of its text, or "
        "the sum minus that after `unconditional_prompt`",
    )
    unconditional_prompt: str = plain(
        "",
        help="with reduction 'unconditional', the context without the question; empty: 'A:', or "
        "'A: The answer is (' for letters",
    )
    tokenization: str = choice(
        *("separate", "joint"),
        help="tokenize context and option separately, as in training, or together, as "
        "lm-evaluation-harness does: the option is what follows the tokens of the context",
    )
    shots: int = at_least(
        0,
        0,
        help="worked examples before each question (few-shot), of its subject and in the order of "
        "their file; 0: none (zero-shot)",
    )
    shots_path: str = location(
        help="files with the worked examples, in the same layout as `path` and relative to `root`; "
        "empty: `path` with another split",
    )
    shots_split: str = plain(
        "train", help="split of the worked examples, for files that have splits; see `split`"
    )
    subject_prefix: bool = plain(
        False, help="begin prompts with the sentence that names the subject, if a row has one"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        yield from super().problems()
        if not NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a file; use letters, digits, _, - and ."
        if self.explanations:
            yield "explanations", "set, but benchmarks have no use for them; leave it empty"
        if self.drop_placeholders:
            yield "drop_placeholders", "set, but benchmarks have no use for it; leave it False"
        if self.max_tokens:
            yield (
                "max_tokens",
                f"{self.max_tokens}, but long questions are truncated; leave it at 0",
            )
        if self.style == "authors" and self.score == "texts":
            yield "score", "'texts', but the style 'authors' scores letters; choose style='clean'"
        if self.unconditional_prompt and self.reduction != "unconditional":
            why = f"set, but reduction is {self.reduction!r}; choose 'unconditional', or leave it"
            yield "unconditional_prompt", f"{why} empty"
        if self.shots and not self.shots_path and self.shots_split == self.split:
            why = "but shots_path is empty; set it to the files with the worked examples"
            yield "shots", f"{self.shots}, {why}, or shots_split to their split"
