"""Explanations of samples by a loaded teacher, with gate verdicts and without any files."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.annotation.attempts import PromptRequests
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt, encode_prompts
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.gates import gates as gate_checks
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import DEFAULT_GATES, SamplingConfig, names
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.texts import LengthGroup, complete, of_kept_engine, on_mesh, text_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedExplanation:
    """One explanation by a teacher.

    Attributes:
        sample: the explained sample.
        kind: kind of the explanation.
        text: the explanation, stripped.
        prompt_tokens: number of tokens of the prompt.
        new_tokens: number of generated tokens, without the end-of-text token.
        finish_reason: "eos" if the teacher ended the text, "stop" if a stop string did, "length"
            if max_new_tokens did, "refused" if a server did not write one.
        gates: verdict by gate.
        details: further values that are recorded with it.
        attempt: number of the attempt, from 1.
        rejected: the earlier attempts, which failed a gate.
    """

    sample: Sample
    kind: str
    text: str
    prompt_tokens: int
    new_tokens: int
    finish_reason: str
    gates: dict[str, bool]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    attempt: int = 1
    rejected: "tuple[GeneratedExplanation, ...]" = ()

    @property
    def judged(self) -> gate_checks.GateInput:
        """The explanation as gates take it."""
        return gate_checks.GateInput(
            sample=self.sample, kind=self.kind, text=self.text, finish_reason=self.finish_reason
        )


def explain(
    model: LoadedModel,
    samples: Sequence[Sample],
    kinds: Sequence[str] = KINDS,
    sampling: SamplingConfig | None = None,
    *,
    seed: int = 0,
    gates: Sequence[str] = DEFAULT_GATES,
    attempts: int = 1,
    subject_prefix: bool = False,
    slots: int = 64,
    engines: dict[LengthGroup, Engine] | None = None,
    scorer: Scorer | None = None,
) -> list[GeneratedExplanation]:
    """Return explanations of all kinds for all samples, sample by sample.

    An explanation depends on the model, its sample, its kind, `sampling` and `seed`, not on the
    other samples: it is the one that `annotate` writes with these settings.

    Args:
        model: the teacher.
        samples: samples with distinct ids, answers included.
        kinds: kinds of explanations, of `data.sample.KINDS`.
        sampling: settings of the sampling; None: the defaults.
        seed: seed of the sampling.
        gates: names of the gates that judge each explanation, of `config.names.GATES`; for
            "answer_check", `model` also chooses an option with each explanation; "not_duplicate"
            is a gate of `annotate` only.
        attempts: maximum number of attempts per explanation, see `generate_explanations`.
        subject_prefix: begin prompts with the sentence that names the subject, if a sample has one.
        slots: number of explanations generated at the same time.
        engines: engines that are kept from call to call; see `generation.texts.complete`.
        scorer: scorer of the model for "answer_check"; None: a new one.

    Raises:
        UserError: an unknown kind or gate, two samples with one id, or a setting, a prompt's length
            or the memory does not suffice (see `generation.texts.complete`).
    """
    _require_known("kinds", kinds, KINDS)
    _require_known("gates", gates, [gate for gate in names.GATES if gate != names.SET_GATE])
    gate_checks.require_usable(gates, samples)
    if attempts < 1:
        raise UserError(f"attempts: expected 1 or more, got {attempts}")
    if len({sample.id for sample in samples}) < len(samples):
        raise UserError("samples: two have the same id; ids must differ")
    encoded = encode_prompts(samples, kinds, model.vocabulary, subject_prefix)
    prompts = [prompt for own in encoded for prompt in own]
    with on_mesh(model):
        generated = generate_explanations(
            *(model, prompts, sampling or SamplingConfig()),
            seed=seed,
            gates=gates,
            attempts=attempts,
            slots=slots,
            members=max(1, len(kinds)),
            engines=engines,
        )
        texts = {prompt.id: explanation for prompt, explanation in generated}
    explanations = [texts[prompt.id] for prompt in prompts]
    if answer_check.NAME in gates:
        return _with_answer_check(model, explanations, gates, scorer)
    return explanations


def _with_answer_check(
    model: LoadedModel,
    explanations: Sequence[GeneratedExplanation],
    gates: Sequence[str],
    scorer: Scorer | None,
) -> list[GeneratedExplanation]:
    """Add the verdicts of the gate that needs a model; verdicts are in the order of `gates`."""
    judged = [one.judged for one in explanations]
    found = answer_check.answers_found(model, judged, scorer=scorer)
    checked = []
    for one, verdict in zip(explanations, found, strict=True):
        verdicts = gate_checks.with_verdict(gates, one.gates, answer_check.NAME, verdict)
        checked.append(dataclasses.replace(one, gates=verdicts))
    return checked


def generate_explanations(
    model: LoadedModel,
    prompts: Iterable[ExplanationPrompt],
    sampling: SamplingConfig,
    *,
    seed: int,
    gates: Sequence[str],
    attempts: int = 1,
    slots: int,
    members: int,
    lengths: Mapping[int, int] | None = None,
    say: Callable[[str], None] = lambda line: None,
    counts: SlotCounts | None = None,
    adapters: Mapping[str, int] | None = None,
    engines: dict[LengthGroup, Engine] | None = None,
) -> Iterator[tuple[ExplanationPrompt, GeneratedExplanation]]:
    """Yield each prompt with its explanation as it is finished. Call it under the model's mesh.

    Args:
        model: the teacher.
        prompts: distinct prompts, those of a sample one after the other; with `lengths` they are
            read as slots become free.
        sampling: settings of the sampling.
        seed: seed of the sampling.
        gates: names of the gates that judge each explanation; only those that judge it by its
            text alone have a verdict.
        attempts: maximum number of attempts per explanation. One that fails a gate is generated
            again with another key; the first that passes is yielded, or the last one.
        slots: number of explanations generated at the same time.
        members: maximum number of prompts of a sample.
        lengths: number of prompts by length in tokens; None: all prompts are read first.
        say: gets a line about each program that is compiled.
        counts: object to which the engines add their work.
        adapters: index of the adapter that writes each kind, for a model with several.
        engines: engines that are kept from call to call; see `generation.texts.complete`.
    """
    if lengths is None:
        prompts = list(prompts)
        lengths = Counter(len(prompt.tokens) for prompt in prompts)
        if engines is not None:
            lengths = of_kept_engine(lengths, model.model.max_positions, sampling)
    running: dict[str, ExplanationPrompt] = {}  # those that are waiting or being continued
    rejected: dict[str, tuple[GeneratedExplanation, ...]] = {}  # earlier attempts, by prompt

    def noted() -> Iterator[ExplanationPrompt]:
        for prompt in prompts:
            running[prompt.id] = prompt
            yield prompt

    requests = PromptRequests(noted(), seed, members, adapters or {})
    completions = complete(
        *(model, requests, sampling),
        slots=slots,
        lengths=lengths,
        members=members,
        say=say,
        counts=counts,
        engines=engines,
    )
    for completion in completions:
        prompt, earlier = running[completion.id], rejected.pop(completion.id, ())
        explanation = judged_explanation(
            *(prompt, gates),
            text=text_of(model.vocabulary, completion, sampling),
            finish_reason=completion.finish_reason,
            prompt_tokens=len(prompt.tokens),
            new_tokens=len(completion.tokens),
            attempt=len(earlier) + 1,
            rejected=earlier,
        )
        if explanation.attempt < attempts and not all(explanation.gates.values()):
            rejected[prompt.id] = (*earlier, dataclasses.replace(explanation, rejected=()))
            requests.again(prompt, explanation.attempt + 1)
            continue
        del running[prompt.id]
        yield prompt, explanation


def judged_explanation(
    prompt: ExplanationPrompt,
    gates: Sequence[str],
    *,
    text: str,
    finish_reason: str,
    **figures: Any,
) -> GeneratedExplanation:
    """Return an explanation of a prompt with the verdicts of the gates.

    Args:
        prompt: the prompt.
        gates: names of the gates; only those that judge it by its text alone have a verdict.
        text: the text as it was generated.
        finish_reason: reason why it ended.
        figures: the other attributes of the explanation.
    """
    explanation = GeneratedExplanation(
        sample=prompt.sample,
        kind=prompt.kind,
        text=text.strip(),
        finish_reason=finish_reason,
        gates={},
        **figures,
    )
    return dataclasses.replace(explanation, gates=gate_checks.verdicts(gates, explanation.judged))


def _require_known(name: str, values: Sequence[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise UserError(f"{name}: expected some of {', '.join(known)}, got {value!r}")
