"""`make bench-answer_check`: precision and recall of the gate `answer_check` with three models.

The gate passes an explanation if a model that reads the question, the explanation and the options
chooses the right option. Three small models are asked:

- the teacher: the quickstart's, after its second stage, as `annotate` would ask it. It was trained
  to answer questions and then to explain the answers, so no explanation came before an answer;
- the reader: the same teacher, trained further to answer the gate's own prompt, with the right
  explanations of its training samples;
- the novice: trained to answer these prompts from random weights. It has never read a question
  without an explanation.

The texts (`unsupported_texts.py`) explain questions that no model was trained on. Half of them lead
to the right option, and half to a wrong one. All is done for two seeds: each draws other texts, and
trains reader and novice with another order of the data. It trains five small models, so it is not
a part of `make bench-gates`.

`--seeds=2,3` measures other seeds; it prints the tables and records nothing. Nor does `--small`,
which trains for a few steps. `--folder=DIR` keeps the models and uses them again.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import teacherlm_jax
from benchmarks import harness, unsupported_texts
from benchmarks.gates import PRECISION, RECALL, Confusion
from benchmarks.unsupported_texts import FAULTS, FORMS, JudgedText
from teacherlm_jax import config, sharding
from teacherlm_jax.annotation.gates import answer_check, gates
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.cli import config_file
from teacherlm_jax.cli import main as teacherlm
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files

TEACHER, READER, NOVICE = MODELS = ("teacher", "reader", "novice")
KINDS = ("cot", "fundamental")  # common mistakes get no verdict
WITHOUT_MODEL = "concludes_answer"  # the gate that compares a stated conclusion with the answer
SEEDS = (0, 1)
READER_RATE, NOVICE_RATE = 1e-3, 1.5e-3  # peak learning rates
QUICKSTART = config_file.load(harness.ROOT / "configs" / "quickstart.py")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmark.

    Attributes:
        samples: samples whose explanations are judged.
        training_samples: samples whose explanations reader and novice read in training.
        reader_steps: steps of the reader's training.
        novice_steps: steps of the novice's training.
        variant: settings of the quickstart's config.
    """

    samples: int = 900
    training_samples: int = 4000
    reader_steps: int = 1000
    novice_steps: int = 2400
    variant: str = ""


SMALL = Sizes(samples=90, training_samples=60, reader_steps=4, novice_steps=4, variant=",tiny")


def prepare(folder: Path, sizes: Sizes) -> None:
    """Train the teacher in a folder and prepare the data of the others, or find both there."""
    root = folder / "quickstart"
    arguments = [f"--config=configs/quickstart.py:root={root}{sizes.variant}", "--until=stage2"]
    if teacherlm.main(["quickstart", *arguments]):
        raise RuntimeError("the teacher could not be trained")
    files.write_jsonl(folder / "read.jsonl", map(to_row, read_samples(sizes.training_samples)))
    teacherlm_jax.prepare(data_config(folder))


def trained(folder: Path, sizes: Sizes, seed: int) -> dict[str, str]:
    """Train reader and novice in a prepared folder, or find them there; return all paths."""
    trainings = (
        training_config(READER, folder, sizes.reader_steps, READER_RATE, seed),
        training_config(NOVICE, folder, sizes.novice_steps, NOVICE_RATE, seed),
    )
    for training in trainings:
        teacherlm_jax.train(training)
    reader, novice = (training.output for training in trainings)
    return {TEACHER: f"{folder}/quickstart/stage2", READER: reader, NOVICE: novice}


def read_samples(count: int) -> Iterator[Sample]:
    """Yield generated samples with each explanation at the end of the question, as the gate asks.

    The samples are the first ones of those that the quickstart trains its teacher on.
    """
    for sample in synthetic.generate(count, seed=config.QuickstartConfig.seed):
        for kind in KINDS:
            text = sample.explanations[kind][synthetic.AUTHOR]
            judged = GateInput(sample=sample, kind=kind, text=text, finish_reason="eos")
            asked = answer_check.with_explanation(judged)
            yield dataclasses.replace(asked, id=f"{sample.id}-{kind}", explanations={})


def data_config(folder: Path) -> config.PrepareConfig:
    """Return the config that prepares the data of reader and novice."""
    return config.PrepareConfig(
        output=str(folder / "data"),
        root=str(folder),
        sources=(config.SourceConfig("read", "read.jsonl"),),
        mixtures=(config.MixtureConfig("answers", forms=("text",), loss="answer"),),
        vocabulary=config.VocabularyConfig(str(folder / "quickstart/vocabulary")),
        length=QUICKSTART.LENGTH,
    )


def training_config(
    name: str, folder: Path, steps: int, rate: float, seed: int
) -> config.TrainConfig:
    """Return the config that trains a model on the gate's prompts, from the teacher or from none.

    Everything else is as in the teacher's second stage.
    """
    teacher = QUICKSTART.train("stage2", str(folder / "quickstart"), tiny=False)
    return dataclasses.replace(
        teacher,
        output=str(folder / f"{name}-{seed}"),
        data=str(folder / "data/answers"),
        init_from=teacher.output if name == READER else "",
        optimizer=dataclasses.replace(
            teacher.optimizer, learning_rate=rate, warmup_steps=steps // 10
        ),
        steps=steps,
        seed=seed,
    )


def accuracy_alone(loaded: LoadedModel, samples: Sequence[Sample]) -> float:
    """Return the share of the questions that a model answers right without an explanation."""
    asked = config.BenchmarkConfig("alone", "alone.jsonl")
    questions = [Question.from_sample(sample, asked) for sample in samples]
    scored, _ = predictions.score(loaded, questions)
    return sum(prediction.correct for prediction in scored) / len(scored)


def judge(paths: Mapping[str, str], texts: Sequence[JudgedText]) -> dict[str, Any]:
    """Return the accuracy of each model without explanations, and all verdicts by gate.

    A verdict is whether the gate fails a text, None where it does not judge that kind.
    """
    samples = list({text.explained.sample.id: text.explained.sample for text in texts}.values())
    judged = [text.explained for text in texts]
    mesh = sharding.make_mesh(config.MeshConfig(data=1), jax.devices()[:1])
    alone, failed = {}, dict[str, list[bool | None]]()
    for name, path in paths.items():
        loaded = any_model.load(path, mesh, dtype="float32")
        alone[name] = accuracy_alone(loaded, samples)
        failed[name] = [found is False for found in answer_check.answers_found(loaded, judged)]
    failed[WITHOUT_MODEL] = [
        not gates.concludes_answer(explained) if explained.kind == "cot" else None
        for explained in judged
    ]
    return {"alone": alone, "failed": failed}


def by_form(texts: Sequence[JudgedText], failed: Sequence[bool | None]) -> dict[str, Confusion]:
    """Return the verdicts of a gate that judges all texts on each form of explanation."""
    result = {form: Confusion() for form in FORMS}
    for text, fails in zip(texts, failed, strict=True):
        result[text.form].add(bool(text.fault), fails is True)
    return result


def shares_failed(
    texts: Sequence[JudgedText], failed: Sequence[bool | None]
) -> dict[str, dict[str, float]]:
    """Return by form and fault, first without one, the share of the texts that a gate fails.

    Forms that the gate does not judge are left out.
    """
    verdicts: dict[str, dict[str, list[bool]]] = {}
    for text, fails in zip(texts, failed, strict=True):
        if fails is not None:
            faults = verdicts.setdefault(
                text.form, {fault: [] for fault in ("", *FAULTS[text.form])}
            )
            faults[text.fault].append(fails)
    return {
        form: {fault: sum(fails) / len(fails) for fault, fails in faults.items()}
        for form, faults in verdicts.items()
    }


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the tables: precision and recall of each model, and the share failed by fault."""
    rows = [
        (
            f"the {model}",
            form,
            item["must_fail"],
            f"{item['precision']:.3f}",
            f"{item['recall']:.3f}",
        )
        for model, forms in figures["answer_check"].items()
        for form, item in forms.items()
    ]
    header = ("model that is asked", "explanations", "faulty ones", "precision", "recall")
    shares = figures["failed"]
    faults = [
        (form, fault or "none", *(_share(shares[gate], form, fault) for gate in shares))
        for form in FORMS
        for fault in ("", *FAULTS[form])
    ]
    columns = [f"`{gate}`" if gate == WITHOUT_MODEL else f"the {gate}" for gate in shares]
    alone = [f"the {model} {100 * share:.1f}%" for model, share in figures["alone"].items()]
    return (
        f"{harness.table(header, rows)}\n"
        f"{harness.table(('explanation', 'fault', *columns), faults)}\n"
        f"Without any explanation, questions answered right: {', '.join(alone)}.\n"
    )


def _share(shares: Mapping[str, Mapping[str, float]], form: str, fault: str) -> str:
    return f"{shares[form][fault]:.3f}" if form in shares else ""


def measure(folder: Path, sizes: Sizes, seed: int) -> dict[str, Any]:
    """Train the models of a seed in a prepared folder and return their figures as JSON."""
    texts = list(unsupported_texts.texts(sizes.samples, seed))
    verdicts = judge(trained(folder, sizes, seed), texts)
    failed = verdicts["failed"]
    return {
        "texts": len(texts),
        "alone": verdicts["alone"],
        "answer_check": {
            model: {form: item.figures() for form, item in by_form(texts, failed[model]).items()}
            for model in MODELS
        },
        "failed": {gate: shares_failed(texts, fails) for gate, fails in failed.items()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save the figures; return the exit status."""
    options = _options(arguments)
    sizes = SMALL if options.small else Sizes()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).absolute()
        prepare(folder, sizes)
        seeds = {str(seed): measure(folder, sizes, seed) for seed in options.seeds}
    tables = [
        f"Seed {seed}, {item['texts']:,} texts:\n\n{text_of(item)}\n"
        for seed, item in seeds.items()
    ]
    text = "".join(tables)
    print(text)
    if options.small or options.seeds != list(SEEDS):
        return 0
    harness.put_into(harness.RESULTS_PAGE, "answer_check", text + harness.conditions().lstrip())
    models = [forms for figures in seeds.values() for forms in figures["answer_check"].values()]
    items = [item for forms in models for item in forms.values()]
    precision, recall = (min(item[key] for item in items) for key in ("precision", "recall"))
    return harness.finish(
        "answer_check",
        f"lowest precision {precision:.3f}, recall {recall:.3f}",
        f"{PRECISION}, {RECALL}",
        precision >= PRECISION and recall >= RECALL,
        {"seeds": seeds},
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few steps; nothing is recorded")
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(seed) for seed in text.split(",")],
        default=list(SEEDS),
        help="seeds of texts and trainings, comma-separated; only the default is recorded: "
        f"{','.join(map(str, SEEDS))}",
    )
    parser.add_argument("--folder", default="", help="keep the models here, and use them again")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
