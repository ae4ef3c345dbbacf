"""A loaded model in Python: it explains questions, scores their options and continues texts."""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence

from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.annotation import explain as explaining
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import DEFAULT_GATES, BenchmarkConfig, SamplingConfig, fields
from teacherlm_jax.data.sample import KINDS, Sample, SampleError, from_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import predictions, rank
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.generation import texts as generating
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.texts import LengthGroup

_KEPT_SETTINGS = 8  # of which a model keeps compiled programs


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
        self._engines: dict[str, dict[LengthGroup, Engine]] = {}

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
        kinds, sampling = tuple(dict.fromkeys(kinds)), sampling or SamplingConfig()
        explanations = explaining.explain(
            *(self.loaded, [sample], kinds, sampling),
            seed=seed,
            gates=gates,
            attempts=attempts,
            subject_prefix=bool(subject),
            slots=self._slots(len(kinds)),
            engines=self._engines_for(sampling, len(kinds)),
            scorer=self._scorer,
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
        sampling = sampling or SamplingConfig()
        (text,) = generating.generate(
            *(self.loaded, [prompt], sampling),
            seed=seed,
            slots=self._slots(1),
            engines=self._engines_for(sampling, 1),
        )
        return text

    def _engines_for(self, sampling: SamplingConfig, members: int) -> dict[LengthGroup, Engine]:
        """Return the engines of earlier calls with these settings, whose programs are compiled."""
        key = f"{sampling} {members}"
        engines = self._engines[key] = self._engines.pop(key, {})
        if len(self._engines) > _KEPT_SETTINGS:
            del self._engines[next(iter(self._engines))]  # those that were not used the longest
        return engines

    def _slots(self, texts: int) -> int:
        """Return the smallest number of slots for all texts that the mesh divides."""
        shards = sharding.batch_shards(self.mesh)
        return shards * max(1, -(-texts // shards))


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
