"""What is written of an explanation, and what is counted of many."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from teacherlm_jax.annotation import gates
from teacherlm_jax.annotation.job_plan import Task
from teacherlm_jax.checkpoints.store import LoadedModel
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.generation.engine import Completion


def explanation(
    config: AnnotateConfig,
    teacher: str,
    loaded: LoadedModel,
    task: Task,
    completion: Completion,
) -> dict[str, Any]:
    """One explanation as it goes to disk, with all that it came from."""
    text = loaded.vocabulary.decode(completion.tokens).strip()
    judged = gates.GateInput(
        sample=task.sample, kind=task.kind, text=text, finish_reason=completion.finish_reason
    )
    return {
        "id": task.sample.id,
        "kind": task.kind,
        "text": text,
        "author": config.author,
        "source": task.sample.source,
        "teacher": teacher,
        "step": loaded.step,
        "model_digest": loaded.digest,
        "prompt_version": prompts.PROMPT_VERSION,
        "prompt_digest": task.prompt_digest,
        "subject_prefix": config.subject_prefix,
        "sampling": asdict(config.sampling),
        "dtype": loaded.config.dtype,
        "seed": config.seed,
        "prompt_tokens": len(task.tokens),
        "new_tokens": len(completion.tokens),
        "finish_reason": completion.finish_reason,
        "gates": gates.verdicts(config.gates, judged),
    }


def annotated(sample: Sample, texts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the sample form with the explanations `texts` (by kind, as on disk) filed in it.

    Provenance stands beside them: `annotations[kind]` is the explanation's row without its text;
    what earlier jobs noted of other kinds stays.
    """
    row = to_row(sample)
    for kind, given in texts.items():
        row["explanations"].setdefault(kind, {})[given["author"]] = given["text"]
    new = {
        kind: {key: value for key, value in given.items() if key not in ("id", "kind", "text")}
        for kind, given in texts.items()
    }
    row["annotations"] = {**sample.annotations, **new}
    return row


class KindCounts:
    """What is reported of all explanations of one kind."""

    def __init__(self, gate_names: Sequence[str]):
        self._count = self._new_tokens = self._all_gates = 0
        self._gates = Counter(dict.fromkeys(gate_names, 0))
        self._finish_reasons: Counter[str] = Counter()
        self._teacher: dict[str, Any] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Counts one row as it is on disk."""
        self._count += 1
        self._new_tokens += row["new_tokens"]
        self._gates.update(name for name, passed in row["gates"].items() if passed)
        self._all_gates += all(row["gates"].values())
        self._finish_reasons[row["finish_reason"]] += 1
        self._teacher = {key: row[key] for key in ("teacher", "step", "model_digest")}

    def result(self) -> dict[str, Any]:
        """The counts as JSON; `passed_all_gates` is None where no gate was asked."""
        return {
            **self._teacher,
            "count": self._count,
            "gates": dict(self._gates),
            "passed_all_gates": self._all_gates if self._gates else None,
            "mean_tokens": self._new_tokens / self._count,
            "finish_reasons": dict(self._finish_reasons),
        }
