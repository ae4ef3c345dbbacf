"""Generated files in the layouts of the paper's data, for tests of its whole pipeline."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, LETTERS, Sample
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sources import p3
from teacherlm_jax.storage import files

P3_DATASET = "app_reviews"  # the one of P3 that has files; its four tasks
OPT = "models/opt"  # the model that OPT students start from, below the folder of the data
_SAMPLES, _EVALUATED = 160, 12
_FOLDER = "data"


def write(layout: str, run: Run) -> None:
    """Write the files of a layout ("paper") to `data` in a run folder, unless they are there."""
    from teacherlm_jax.pipelines import generated_model  # imports JAX; a dry run needs names only

    assert layout == "paper", layout
    folder = run.path / _FOLDER
    samples = list(synthetic.generate(_SAMPLES, 0, split="train"))
    held_out = list(synthetic.generate(_EVALUATED, 0, split="test"))
    for task in p3.sources([P3_DATASET], "parquet", "P3"):
        path = folder / task.path.replace("*", "00000", 1).replace("*", "00001")
        _write_parquet(path, [_p3(sample) for sample in samples[:20]])
    _write(folder / "teacher_data/generated.jsonl", map(_five_elements, samples))
    for name in ("creak", "ecqa", "strategyqa"):
        _write(folder / f"rationale/{name}_train.jsonl", map(_rationale, samples[:20]))
    _write(folder / "eval/creak.jsonl", _creak(held_out))
    _write(folder / "eval/ecqa.jsonl", map(_ecqa, held_out))
    _write(folder / "eval/strategy_qa.jsonl", map(_strategy_qa, held_out))
    _write(folder / "eval/mmlu_test.jsonl", map(_mmlu, held_out))
    generated_model.write_opt(folder / OPT, (sample.question for sample in samples))
    run.log.info("%s: generated files in the layouts of the paper's data", folder)


def _write(path: epath.Path, rows: Iterable[dict[str, Any]]) -> None:
    if not files.exists(path):  # its time would count as a change
        files.write_jsonl(path, rows)


def _write_parquet(path: epath.Path, rows: Sequence[dict[str, Any]]) -> None:
    if not files.exists(path):
        content = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows)), content)
        files.write_bytes(path, content.getvalue().to_pybytes())


def _answer(sample: Sample) -> str:
    """Return the text of the answer."""
    return sample.options[LETTERS.index(sample.answer[1])] if sample.options else sample.answer


def _explanation(sample: Sample, kind: str) -> str:
    return sample.explanations[kind][synthetic.AUTHOR]


def _p3(sample: Sample) -> dict[str, Any]:
    return {
        "inputs_pretokenized": sample.question,
        "targets_pretokenized": _answer(sample),
        "answer_choices": list(sample.options) or None,
    }


def _five_elements(sample: Sample) -> dict[str, Any]:
    return {
        "question": sample.question,
        "answer": _answer(sample),
        "options": list(sample.options),
        "subject": sample.subject,
        **{kind: _explanation(sample, kind) for kind in KINDS},
    }


def _rationale(sample: Sample) -> dict[str, Any]:
    options = "".join(f"\n- {option}" for option in sample.options)
    question = f"{sample.question}\nOptions:{options}" if options else sample.question
    return {"question": question, "answer": _answer(sample), "cot": _explanation(sample, "cot")}


def _creak(samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    for index, sample in enumerate(samples):
        yield {"sentence": sample.question, "label": "false" if index % 2 else "true"}


def _ecqa(sample: Sample) -> dict[str, Any]:
    answer = _answer(sample)
    options = [answer, *(f"not {answer}, but {number}" for number in range(4))]
    named = {f"q_op{number}": option for number, option in enumerate(options, 1)}
    return {"q_text": sample.question, "q_ans": answer, **named}


def _strategy_qa(sample: Sample) -> dict[str, Any]:
    return {
        "facts": [_explanation(sample, "fundamental")],
        "origin_question": sample.question,
        "origin_answer": _answer(sample) == "True",
    }


def _mmlu(sample: Sample) -> dict[str, Any]:
    answer = _answer(sample)
    return {
        "subject": sample.subject,
        "question": sample.question,
        "choices": [f"not {answer}", answer, f"never {answer}", "nothing"],
        "answer": 1,
    }
