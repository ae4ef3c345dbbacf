"""Rows that annotation writes: explanations with their provenance, and annotated samples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from teacherlm_jax.annotation.endpoint.endpoint_client import REFUSED
from teacherlm_jax.annotation.explain import GeneratedExplanation
from teacherlm_jax.annotation.explanation_prompts import prompt_digest
from teacherlm_jax.annotation.loaded_teacher import LoadedTeacher
from teacherlm_jax.annotation.shards import rejected_texts
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample, to_row


def explanation_row(
    config: AnnotateConfig, teacher: str, loaded: LoadedTeacher, explanation: GeneratedExplanation
) -> dict[str, Any]:
    """Return the row of one explanation: its text, its verdicts and its provenance."""
    sample, kind = explanation.sample, explanation.kind
    return {
        "id": sample.id,
        "kind": kind,
        "text": explanation.text,
        "author": config.author,
        "source": sample.source,
        "teacher": teacher,
        "step": loaded.step,
        "model_digest": loaded.digest,
        "prompt_version": prompts.PROMPT_VERSION,
        "prompt_digest": prompt_digest(sample, kind, config.subject_prefix),
        "subject_prefix": config.subject_prefix,
        "sampling": asdict(config.sampling),
        "dtype": loaded.dtype,
        "weights": loaded.weights,
        "seed": config.seed,
        "prompt_tokens": explanation.prompt_tokens,
        "new_tokens": explanation.new_tokens,
        "finish_reason": explanation.finish_reason,
        "gates": explanation.gates,
        **explanation.details,
        **(rejected_texts.attempt_fields(explanation) if config.attempts > 1 else {}),
    }


def is_explanation(row: Mapping[str, Any]) -> bool:
    """Return whether a row read from disk has the keys and types that are used later on."""
    texts = ("id", "text", "author", "finish_reason", "model_digest", "prompt_digest")
    gates = row.get("gates")
    return (
        all(isinstance(row.get(key), str) for key in texts)
        and all(type(row.get(key)) is int for key in ("prompt_tokens", "new_tokens"))
        and isinstance(gates, dict)
        and all(type(verdict) is bool for verdict in gates.values())
        and type(row.get("attempt", 1)) is int
        and isinstance(row.get("rejected", []), list)
    )


def annotated(sample: Sample, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a sample as a row, with the explanations of `rows` (by kind) and their provenance.

    `annotations[kind]` is the explanation's row without its text. Annotations of other kinds, by
    earlier runs, are kept. Texts that a server refused to write are left out.
    """
    merged = to_row(sample)
    rows = {kind: row for kind, row in rows.items() if row["finish_reason"] != REFUSED}
    for kind, row in rows.items():
        merged["explanations"].setdefault(kind, {})[row["author"]] = row["text"]
    new = {
        kind: {key: value for key, value in row.items() if key not in ("id", "kind", "text")}
        for kind, row in rows.items()
    }
    merged["annotations"] = {**sample.annotations, **new}
    return merged


_TOKENS = ("prompt_tokens", "new_tokens")


class KindCounts:
    """Figures of explanations of one kind.

    Attributes:
        prompt_tokens: tokens of the prompts.
        new_tokens: tokens of the explanations.
        all_texts: texts, tokens of their prompts and new tokens, with those of texts that failed a
            gate and were generated again.
    """

    def __init__(self, gate_names: Sequence[str]):
        self._count = self._all_gates = 0
        self.prompt_tokens = self.new_tokens = 0
        self.all_texts: Counter[str] = Counter()
        self._gates = Counter(dict.fromkeys(gate_names, 0))
        self._judged = Counter(dict.fromkeys(gate_names, 0))
        self._finish_reasons: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()  # empty if no text may be generated again
        self._teacher: dict[str, Any] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row on disk."""
        self._count += 1
        self.add_tokens(row)
        self.prompt_tokens += row["prompt_tokens"]
        self.new_tokens += row["new_tokens"]
        self._gates.update(name for name, passed in row["gates"].items() if passed)
        self._judged.update(row["gates"].keys())
        self._all_gates += all(row["gates"].values())
        self._finish_reasons[row["finish_reason"]] += 1
        if "attempt" in row:
            self._attempts[str(row["attempt"])] += 1
        keys = ("teacher", "step", "model_digest", "weights")  # the last one not in older rows
        self._teacher = {key: row[key] for key in keys if key in row}

    def add_tokens(self, row: Mapping[str, Any]) -> None:
        """Count one row among `all_texts` only, such as one of a text that was generated again."""
        tokens = {key: row[key] for key in _TOKENS}
        self.all_texts.update({"texts": 1, **tokens})

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON, for `merge`."""
        return {
            "teacher": self._teacher,
            "count": self._count,
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "all_texts": dict(self.all_texts),
            "all_gates": self._all_gates,
            "gates": dict(self._gates),
            "judged": dict(self._judged),
            "finish_reasons": dict(self._finish_reasons),
            **self._by_attempt(),
        }

    def merge(self, other: Mapping[str, Any]) -> None:
        """Add the figures of other rows, as `to_json` returned them."""
        self._teacher = dict(other["teacher"])
        self._count += other["count"]
        self.prompt_tokens += other.get("prompt_tokens", 0)  # of an earlier version: not counted
        self.new_tokens += other["new_tokens"]
        alone = {"texts": other["count"], **{key: other.get(key, 0) for key in _TOKENS}}
        self.all_texts.update(other.get("all_texts", alone))  # an earlier version: not counted
        self._all_gates += other["all_gates"]
        self._gates.update(other["gates"])
        # Without the gate answer_check, as in counts of earlier versions, all texts have verdicts.
        all_judged = dict.fromkeys(other["gates"], other["count"])
        self._judged.update(other.get("judged", all_judged))
        self._finish_reasons.update(other["finish_reasons"])
        self._attempts.update(other.get("attempts", {}))

    def result(self) -> dict[str, Any]:
        """Return the figures as JSON; `passed_all_gates` is None if no gate was configured.

        `gates` has the number of texts that passed, and `judged` of those that have a verdict.
        """
        return {
            **self._teacher,
            "count": self._count,
            "gates": dict(self._gates),
            "judged": dict(self._judged),
            "passed_all_gates": self._all_gates if self._gates else None,
            "mean_tokens": self.new_tokens / self._count,
            "finish_reasons": dict(self._finish_reasons),
            **self._by_attempt(),
        }

    def _by_attempt(self) -> dict[str, Any]:
        """Return the number of texts by attempt, as `attempts`, if texts may be generated again."""
        return {"attempts": dict(sorted(self._attempts.items()))} if self._attempts else {}
