"""Settings of `star`."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, group, location, not_among, number, plain
from teacherlm_jax.config.inference_config import SamplingConfig
from teacherlm_jax.config.model_config import MeshConfig, ModelConfig
from teacherlm_jax.config.names import DEFAULT_GATES, MODEL_PATHS, TEXT_GATES
from teacherlm_jax.config.prepare_config import SourceConfig, VocabularyConfig
from teacherlm_jax.config.train_config import OptimizerConfig

_MOST_ROUNDS = 100


@dataclasses.dataclass
class StarConfig:
    """Explanations grown from questions with answers in rounds of STaR (arXiv 2203.14465).

    Round 0 trains the first model on the explained samples. In every later round the model of the
    round before explains all questions, and a new model is trained, from the original weights, on
    the explanations that lead to the right answer.
    """

    output: str = location(required=True, help="run folder; each round has a folder in it")
    root: str = location(help="folder that the paths of the three datasets are relative to")
    explained: SourceConfig = group(
        SourceConfig,
        help="the seed set: samples with chains of thought, from which the first model learns to "
        "explain, and which are among the training examples of every round",
    )
    author: str = plain("human", help="author of the chains of thought of `explained` to use")
    questions: SourceConfig = group(
        SourceConfig, help="samples with answers, to be explained; explanations are not read"
    )
    test: SourceConfig = group(
        SourceConfig,
        help="held-out samples, on which the accuracy of every round is measured: the model writes "
        "explanation and answer, and its answer is compared",
    )
    rounds: int = number(3, limits=f"[1, {_MOST_ROUNDS}]", help="number of rounds after round 0")
    rationalize: bool = plain(
        True,
        help="also explain the questions of which no explanation was kept, because the answer was "
        "wrong or the text was truncated or failed a check, with the right answer given as a hint; "
        "without it, only right answers are kept (filtering)",
    )
    init_from: str = location(
        local=True,
        hub=True,
        help=f"the original weights, from which every round is trained: {MODEL_PATHS}; empty: "
        "random weights, the same ones in every round",
    )
    vocabulary: VocabularyConfig = group(
        VocabularyConfig, help="the vocabulary (tokenizer), of `init_from` if that is set"
    )
    length: int = at_least(2, 512, help="tokens per packed row, and of the longest example")
    model: ModelConfig = group(ModelConfig)
    optimizer: OptimizerConfig = group(OptimizerConfig)
    mesh: MeshConfig = group(MeshConfig)
    batch_size: int = at_least(1, 8, help="packed rows per training step, over all devices")
    steps: int = at_least(1, 100, help="training steps of each round after round 0")
    seed_steps: int = at_least(
        0, 0, help="training steps of round 0, which has few examples; 0: same as `steps`"
    )
    sampling: SamplingConfig = group(
        SamplingConfig,
        help="sampling of explanations; the accuracy is measured with temperature 0",
    )
    gates: tuple[str, ...] = plain(
        DEFAULT_GATES,
        help="quality checks; explanations that fail one of them are not kept (see "
        f"docs/reference/sample-format.md); any of {', '.join(TEXT_GATES)}",
    )
    slots: int = at_least(
        1, 64, help="explanations in flight at the same time; lower it when memory runs out"
    )
    dtype: str = choice(
        *("", "bfloat16", "float32"),
        help="dtype of the computation when explanations are written; empty: the one of the model",
    )
    seed: int = number(
        0,
        limits="[0, 2147483547]",
        help="seed of the training and, with the number of the round added, of the sampling",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        fewest = min(self.steps, self.seed_steps or self.steps)
        if self.optimizer.warmup_steps >= fewest:
            yield (
                "optimizer.warmup_steps",
                f"{self.optimizer.warmup_steps} must be less than the steps of a round, {fewest}",
            )
        names = [source.name for source in (self.explained, self.questions, self.test)]
        for key in ("explained", "questions", "test"):
            if most := getattr(self, key).max_tokens:
                why = f"{most}, but no vocabulary counts the tokens of these datasets"
                yield f"{key}.max_tokens", f"{why}; leave it at 0"
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield "questions.name", f"two datasets have the name {twice!r}; names must differ"
        if not self.author.strip():
            yield "author", "empty; name the author of the seed set's chains of thought"
        for gate in self.gates:
            if gate not in TEXT_GATES:
                yield "gates", not_among(gate, TEXT_GATES)
