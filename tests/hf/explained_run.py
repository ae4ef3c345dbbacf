"""Finished `annotate` runs made by hand, with the rows that `annotate` writes."""

import dataclasses

from teacherlm_jax.annotation.explained_rows import KindCounts, annotated
from teacherlm_jax.config import AnnotateConfig, SourceConfig, TeachersConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

GATES = ("finished", "not_empty")


def explanation(sample, kind, text, *, passed=True, **more):
    """Return the row of an explanation, as in `texts/`."""
    return {
        "id": sample.id, "kind": kind, "text": text, "author": "teacher", "source": sample.source,
        "teacher": f"runs/{kind}", "step": 500, "model_digest": "sha256:0123",
        "prompt_version": "1", "prompt_digest": "4567", "subject_prefix": False,
        "sampling": {"temperature": 0.7, "top_k": 50, "top_p": 0.95, "max_new_tokens": 512},
        "dtype": "bfloat16", "seed": 0, "prompt_tokens": 41, "new_tokens": 23,
        "finish_reason": "eos" if passed else "length",
        "gates": {"finished": passed, "not_empty": True},
    } | more  # fmt: skip


def mixed_samples():
    """Samples that differ in everything that may be missing, the poorest ones first."""
    human = {"cot": {"human": "A whale has lungs."}, "mistake": {}}
    earlier = {"mistake": {"author": "old", "gates": {"finished": False}, "score": 1}}
    return [
        Sample(id="a", question="What is 2 + 2?", answer="4"),
        Sample(id="b", question="Why is\nthe sky blue?", answer="Rayleigh scattering", source="q"),
        Sample(id="c", question="A mammal?", answer="(B)", options=("trout", "whale"),
               subject="biology", explanations=human),
        Sample(id="d", question="Größe 大?", answer="(A)", options=("ja", "nein"),
               explanations={"mistake": {"old": "M"}}, annotations=earlier),
        Sample(id="e", question="Half?", answer="1/2",
               annotations={"mistake": {"author": "old", "gates": {}, "score": 0.5}}),
    ]  # fmt: skip


def write_run(folder, samples=None, *, kinds=("cot", "fundamental"), per_file=2, failed=("b",)):
    """Write a finished run in a folder; the chains of thought of `failed` did not finish."""
    samples = mixed_samples() if samples is None else samples
    config = AnnotateConfig(
        output=str(folder), source=SourceConfig("toys", "toys.jsonl"), gates=GATES,
        teachers=TeachersConfig(**{kind: f"runs/{kind}" for kind in kinds}),
    )  # fmt: skip
    counts = {kind: KindCounts(GATES) for kind in kinds}
    rows = []
    for sample in samples:
        own = {
            kind: explanation(
                sample, kind, f"The {kind} of {sample.id}.",
                passed=not (kind == "cot" and sample.id in failed),
            )
            for kind in kinds
        }  # fmt: skip
        for kind, row in own.items():
            counts[kind].add(row)
        rows.append(annotated(sample, own))
    for start in range(0, len(rows), per_file):
        name = f"part-{start // per_file:05}.jsonl"
        files.write_jsonl(folder / layout.SAMPLES / name, rows[start : start + per_file])
    files.write_json(
        folder / layout.CONFIG, {"verb": "annotate", "config": dataclasses.asdict(config)}
    )
    figures = {kind: count.result() for kind, count in counts.items()}
    result = {"rows": len(rows), "refused": 3, "kinds": figures}
    files.write_json(folder / layout.RESULT, result)
    return folder
