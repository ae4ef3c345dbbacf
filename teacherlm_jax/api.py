"""The Python API: load a model, let it explain, score and generate; run commands; look at runs.

    import teacherlm_jax

    model = teacherlm_jax.load("runs/quickstart/stage2")
    texts = model.explain(question, options, answer)

`prepare`, `train`, `annotate`, `evaluate` and `convert` are the commands of these names, and
`write_report` is `report`, which is a subpackage's name. Each takes the config of its command and
returns the run's result. The run folder is `config.output`: an interrupted run is resumed, and a
finished one returns its result again. They raise UserError if the config, an input or the run
folder cannot be used, StoreError if a bucket does not answer, and Interrupted if a signal stopped
the run, which is saved.
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.annotation import explain as explaining
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import (
    DEFAULT_GATES,
    AnnotateConfig,
    BenchmarkConfig,
    ConvertConfig,
    DryRunOptions,
    EvaluateConfig,
    MeshConfig,
    PrepareConfig,
    ReportConfig,
    SamplingConfig,
    TrainConfig,
    fields,
)
from teacherlm_jax.data.sample import KINDS, Sample, SampleError, from_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import predictions, rank
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.generation import texts as generating
from teacherlm_jax.hf import any_model
from teacherlm_jax.pipelines import verbs

if TYPE_CHECKING:
    import altair

    from teacherlm_jax.report.shown_samples import ShownSamples


@dataclasses.dataclass(frozen=True)
class OptionScores:
    """The scores of a question's options.

    Attributes:
        options: texts of the options.
        scores: log-probability of each option in nats, as `Model.score` describes.
    """

    options: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def prediction(self) -> str:
        """The option with the best score; the first one of a tie."""
        return self.options[rank.best(self.scores)]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One explanation that a model wrote.

    Attributes:
        text: the explanation.
        gates: verdict of each gate that judged it, by name.
        finish_reason: "eos" if the model ended the text, "stop" if a stop string did, "length" if
            `max_new_tokens` did.
    """

    text: str
    gates: Mapping[str, bool]
    finish_reason: str

    @property
    def passed(self) -> bool:
        """True if all gates accept the text."""
        return all(self.gates.values())

    def __str__(self) -> str:
        return self.text


class Model:
    """A teacher, a student, or any BLOOM or OPT model, loaded and ready to use.

    Attributes:
        loaded: its parameters, vocabulary, shape, step and digest.
        mesh: the devices that hold the parameters.
    """

    def __init__(self, loaded: LoadedModel, mesh: Mesh):
        self.loaded = loaded
        self.mesh = mesh

    def explain(
        self,
        question: str,
        options: Sequence[str] = (),
        answer: str = "",
        *,
        kinds: Sequence[str] = KINDS,
        subject: str = "",
        sampling: SamplingConfig | None = None,
        gates: Sequence[str] = DEFAULT_GATES,
        attempts: int = 1,
        seed: int = 0,
    ) -> dict[str, Explanation]:
        """Return one explanation of each kind for a question with its answer.

        A text depends only on the model, the sample, the kind, `sampling` and `seed`.

        Args:
            question: the question, without its options.
            options: texts of the options, without letters; empty for a free-text answer.
            answer: the correct answer: a letter such as "B", the text of an option, or free text.
            kinds: kinds to write: "cot", "fundamental", "mistake".
            subject: if given, prompts begin with the sentence that names it.
            sampling: how tokens are sampled; None: the defaults of `SamplingConfig`.
            gates: names of the gates that judge each text; `answer_check` uses this model.
            attempts: maximum number of attempts per text: one that fails a gate is generated again
                with other random numbers. `answer_check` does not count.
            seed: seed of the sampling.

        Raises:
            UserError: the question has no answer, the answer is not one of the options, or a
                setting is invalid.
        """
        for name, names in (("kinds", kinds), ("gates", gates)):
            if isinstance(names, str):
                raise UserError(f"{name}: expected a list of names, got {names!r}; use [{names!r}]")
        sample = _sample(question, options, answer, subject)
        explanations = explaining.explain(
            *(self.loaded, [sample], tuple(dict.fromkeys(kinds)), sampling),
            seed=seed,
            gates=gates,
            attempts=attempts,
            subject_prefix=bool(subject),
            slots=self._slots(len(kinds)),
        )
        return {
            item.kind: Explanation(item.text, item.gates, item.finish_reason)
            for item in explanations
        }

    def score(
        self,
        question: str,
        options: Sequence[str],
        *,
        score: str = "letters",
        reduction: str = "mean",
        subject: str = "",
    ) -> OptionScores:
        """Return the scores of a question's options: rank classification, zero-shot.

        Load the model with `dtype="float32"` for scores that do not depend on rounding.

        Args:
            question: the question, without its options.
            options: texts of the options, without letters; at least two.
            score: "letters" scores the letter of each option, all options being in the prompt;
                "texts" scores its text, without options in the prompt.
            reduction: score of an option from the log-probabilities of its tokens: their "mean"
                (equation 1 of the paper), their "sum", the sum divided by the "bytes" of its text,
                or "unconditional": the sum minus that after a prompt without the question.
            subject: if given, the prompt begins with the sentence that names it.

        Raises UserError if the question or the options cannot be used, and if they are too long
        for the model's learned positions.
        """
        if len(options) == 0:
            raise UserError("options: empty; give at least two texts")
        sample = _sample(question, options, "(A)", subject)  # scores do not depend on the answer
        settings = BenchmarkConfig(
            name="api", path="api", score=score, reduction=reduction, subject_prefix=bool(subject)
        )
        fields.check(settings, "arguments")
        item = Question.from_sample(sample, settings)
        (prediction,), truncated = predictions.score(
            *(self.loaded, [item]), reduction=reduction, max_length=sys.maxsize, scorer=self._scorer
        )
        if truncated:
            positions = self.loaded.config.max_positions
            raise UserError(
                f"question: too long for the model, which has learned positions for {positions} "
                "tokens; shorten it"
            )
        return OptionScores(sample.options, prediction.scores)

    @functools.cached_property
    def _scorer(self) -> Scorer:  # kept, since its programs are compiled
        return predictions.scorer_of(self.loaded, predictions.BATCH_TOKENS)

    def generate(
        self, prompt: str, *, sampling: SamplingConfig | None = None, seed: int = 0
    ) -> str:
        """Return the model's continuation of a text.

        Args:
            prompt: text that the model continues, taken as it is.
            sampling: how tokens are sampled; None: the defaults of `SamplingConfig`.
            seed: seed of the sampling.

        Raises UserError if the prompt is empty or too long for the model's learned positions.
        """
        if not prompt:
            raise UserError("prompt: empty; give the text that the model continues")
        settings = sampling or SamplingConfig()
        (text,) = generating.generate(
            self.loaded, [prompt], settings, seed=seed, slots=self._slots(1)
        )
        return text

    def _slots(self, texts: int) -> int:
        """Return the smallest number of slots for all texts that the mesh divides."""
        shards = sharding.batch_shards(self.mesh)
        return shards * max(1, -(-texts // shards))


def load(
    path: Path | str,
    *,
    mesh: Mesh | None = None,
    dtype: str = "",
    attention: str = "",
    weights: str = "",
) -> Model:
    """Load a model with its parameters onto the devices.

    Args:
        path: a run folder (its newest checkpoint), `RUN/checkpoints/STEP`,
            `RUN/checkpoints/best`, a Hugging Face folder, or `hf://org/name[@revision]`.
        mesh: devices that hold the parameters, with the axes data, fsdp and tensor; None: all
            devices.
        dtype: compute dtype, "float32" or "bfloat16"; empty: as trained.
        attention: attention implementation, such as "blockwise"; empty: as trained. A model that
            was trained with "fused" on a TPU needs another one elsewhere.
        weights: "int8" stores the weights in int8, which changes results slightly and needs the
            package qwix; empty: in `dtype`.

    Raises UserError if the model is missing, damaged or incomplete, if `mesh` has other axes, or
    if qwix is missing.
    """
    mesh = sharding.with_our_axes(mesh) if mesh else sharding.make_mesh(MeshConfig())
    settings = {"dtype": dtype, "attention": attention, "weights": weights}
    return Model(any_model.load(path, mesh, **settings), mesh)


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Tokenize datasets and pack them into rows on disk."""
    return _run("prepare", config)


def train(config: TrainConfig) -> dict[str, Any]:
    """Train a stage of a teacher, or a student."""
    return _run("train", config)


def annotate(config: AnnotateConfig) -> dict[str, Any]:
    """Have teachers explain every row of a dataset."""
    return _run("annotate", config)


def dry_run(config: AnnotateConfig) -> str:
    """Return a text about what `annotate` would do: usable rows, prompts, memory and time.

    Nothing is written. A few prompts are generated to measure the speed. Raises UserError where
    `annotate` would.
    """
    fields.check(config)
    return verbs.dry_run("annotate", config, DryRunOptions(dry_run=True))


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate a model on multiple-choice benchmarks."""
    return _run("evaluate", config)


def convert(config: ConvertConfig) -> None:
    """Convert a model from or to the Hugging Face format, or explained data to a dataset."""
    fields.check(config)
    verbs.run("convert", config)


def write_report(config: ReportConfig) -> dict[str, Any]:
    """Write tables and figures of runs, of a dataset, or of explanations, as HTML and Markdown."""
    return _run("report", config)


def figures(root: Path | str) -> "dict[str, altair.TopLevelMixin]":
    """Return the figures of a report on all runs below `root` as Altair charts, by name.

    The names are those of the files that `write_report` writes to `figures/`, such as "loss".
    Nothing is written. Raises UserError if `root` is not a folder or contains no run.
    """
    from teacherlm_jax.report import build  # takes a second to import

    return build.charts(root)


def compare(root: Path | str) -> str:
    """Return tables of the paired differences between all evaluated models below `root`.

    They are those that a report shows first: models that answered the same questions, with runs
    that differ only in their seed as one model, and the training behind each. Nothing is written.
    Raises UserError if `root` is not a folder or contains no run.
    """
    from teacherlm_jax.report import build  # takes a second to import

    return build.comparison_text(root)


def samples(run: Path | str, count: int = 5) -> "ShownSamples":
    """Return samples of an annotation run with their explanations and the verdicts of the gates.

    A notebook shows the value of a cell as Markdown; `print` writes plain text. Raises UserError if
    `run` has no explained sample, or `count` is not positive.
    """
    from teacherlm_jax.report import shown_samples  # takes a second to import

    return shown_samples.shown_samples(run, count)


def _run(verb: str, config: Any) -> dict[str, Any]:
    fields.check(config)
    result = verbs.run(verb, config)
    assert result is not None
    return result


def _sample(question: str, options: Sequence[str], answer: str, subject: str) -> Sample:
    if isinstance(options, str):  # whose letters would be the options
        raise UserError(f"options: expected a list of texts, got the text {options!r}")
    row = {
        "id": "sample",
        "question": question,
        "options": list(options),
        "answer": answer,
        "subject": subject,
    }
    try:
        return from_row(row)
    except SampleError as error:
        raise UserError(f"{question!r}: {error}") from None
