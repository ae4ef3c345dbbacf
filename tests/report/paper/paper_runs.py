"""Run folders that stand for models of the paper, as the verbs write them."""

from teacherlm_jax import config
from teacherlm_jax.models import registry
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files


def finish(verb, settings, result):
    with run_folder.open_run(settings.output, verb, settings) as run:
        run.finish(result)


def trained(root, name, mixture, shape="bloom-tiny", data="", learning_rate=2e-5, **keys):
    data = root / "data" / (data or name)
    files.write_json(data / "manifest.json", {"mixture": mixture})
    settings = config.TrainConfig(
        output=str(root / name),
        data=str(data),
        model=registry.shape(shape),
        optimizer=config.OptimizerConfig(learning_rate=learning_rate),
        batch_size=256,
        **keys,
    )
    result = {"step": 10, "steps": 10, "tokens": 4_000_000_000, "loss": 1.0, "accuracy": 0.5}
    finish("train", settings, result | {"tokens_per_second": 1.0})
    return settings.output


def measured(right, rows, subjects=("",)):
    return {
        "rows": rows,
        "accuracy": right,
        "interval": [right - 0.03, right + 0.03],
        "majority": 0.27,
        "macro_accuracy": right + 0.02,
        "macro_interval": [right, right + 0.04],
        "by_subject": {subject: {"rows": 100, "accuracy": right} for subject in subjects},
        "truncated": 0,
        "refused": 0,
        "seconds": 1.0,
    }


def evaluated(root, name, model, results, **keys):
    """Write an evaluation; the names of its benchmarks say nothing, their formats do."""
    benchmarks = tuple(
        config.BenchmarkConfig(f"set{number}", "b.jsonl", format)
        for number, format in enumerate(results)
    )
    settings = config.EvaluateConfig(
        output=str(root / name), model=model, benchmarks=benchmarks, **keys
    )
    by_name = {f"set{number}": result for number, result in enumerate(results.values())}
    finish("evaluate", settings, {"benchmarks": by_name, "model": model, "step": 10, "digest": "d"})


def annotated(root, name, format, limit=0, **keys):
    """Write an annotation of 500 samples."""
    kinds = {
        kind: {"teacher": "t", "count": 500, "gates": {}, "passed_all_gates": None}
        | {"mean_tokens": 70.0}
        for kind in ("cot", "fundamental", "mistake")
    }
    settings = config.AnnotateConfig(
        output=str(root / name),
        source=config.SourceConfig(name, f"{name}.jsonl", format, limit=limit),
        teachers=config.TeachersConfig(cot="t"),
        **keys,
    )
    finish("annotate", settings, {"rows": 500, "refused": 0, "kinds": kinds})
