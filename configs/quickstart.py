"""All of TeacherLM with toy-sized models, on generated samples.

    teacherlm quickstart --config=configs/quickstart.py

Trains a teacher of 0.9M parameters in three stages, has it explain samples that have no
explanations, trains two students, evaluates all models by rank classification, and writes a report.
It takes five to ten minutes on two CPU cores and about 1 GB of memory.

Each step is a command with a variant of this file, and can be run alone, for example

    teacherlm train --config=configs/quickstart.py:stage2 --config.output=runs/other

The variants, in the order of the steps:

    prepare   teacher_data
    train     stage1, stage2, stage3_cot, stage3_fundamental, stage3_mistake
    annotate  annotate
    prepare   student_data
    train     student_text, student_CMF
    evaluate  evaluate_NAME, with the name of any trained model, as in evaluate_stage1
    report    report

Settings after the variant, as in `stage2,tiny`, or alone for the whole quickstart, as in `:tiny`:

    root  folder of the run folders (default: runs/quickstart)
    tiny  a few steps of everything, as a smoke test; the models learn nothing
"""

import os

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import synthetic
from teacherlm_jax.errors import UserError

KINDS = ("cot", "fundamental", "mistake")
LETTERS = {"cot": "C", "fundamental": "F", "mistake": "M"}
STUDENTS = ("student_text", "student_CMF")
FILE = os.path.relpath(__file__)

# With BLOOM's 0.02, a model this narrow takes much longer to learn to copy from the question.
MODEL = config.ModelConfig(layers=4, width=128, heads=4, dtype="float32", initializer_range=0.08)

# Steps and peak learning rate of each run. A step has BATCH rows of LENGTH tokens: many small steps
# train better than a few large ones in the same time.
BATCH, LENGTH = 2, 256
STEPS = {
    "stage1": (1200, 1e-3),
    "stage2": (2400, 1.5e-3),
    **dict.fromkeys((f"stage3_{kind}" for kind in KINDS), (500, 1e-3)),
    # Four epochs each; samples with explanations are three times as long.
    "student_text": (500, 1.5e-3),
    "student_CMF": (1500, 1.5e-3),
}
BASE = {"stage2": "stage1", **dict.fromkeys((f"stage3_{kind}" for kind in KINDS), "stage2")}


def get_config(argument: str = ""):
    """Return the config of a step or, without a variant, the whole pipeline."""
    variant, settings = variants.parse(argument, root="runs/quickstart", tiny=False)
    root, tiny = settings["root"], settings["tiny"]
    if not variant:
        return pipeline(root, tiny)
    if variant == "teacher_data":
        return teacher_data(root)
    if variant == "student_data":
        return student_data(root)
    if variant in STEPS:
        return train(variant, root, tiny)
    if variant == "annotate":
        return annotate(root, tiny)
    if variant.startswith("evaluate_") and variant.removeprefix("evaluate_") in STEPS:
        return evaluate(variant.removeprefix("evaluate_"), root)
    if variant == "report":
        return config.ReportConfig(
            output=f"{root}/report", root=root, title="TeacherLM at toy size"
        )
    known = ["teacher_data", *STEPS, "annotate", "student_data", "evaluate_STEP", "report"]
    raise UserError(f"unknown variant {variant!r}; known: {', '.join(known)}")


def pipeline(root: str, tiny: bool) -> config.QuickstartConfig:
    """Return the pipeline of all steps, in order."""
    behind = f",root={root}" + (",tiny" if tiny else "")
    samples = f"{root}/samples"
    plan = [
        ("prepare the teachers' data", "prepare", "teacher_data", [f"{samples}/train.jsonl"]),
        ("stage 1: answers", "train", "stage1", model_inputs("stage1", root)),
        ("stage 2: all three explanations", "train", "stage2", model_inputs("stage2", root)),
        *(
            (f"stage 3: specialist for {kind}", "train", name, model_inputs(name, root))
            for kind in KINDS
            for name in (f"stage3_{kind}",)
        ),
        (
            "the specialists explain samples that had no explanation",
            "annotate",
            "annotate",
            [f"{samples}/unlabelled.jsonl", *(f"{root}/stage3_{kind}" for kind in KINDS)],
        ),
        ("prepare the students' data", "prepare", "student_data", [f"{root}/annotate/samples"]),
        *((f"train {name}", "train", name, model_inputs(name, root)) for name in STUDENTS),
        *(
            (
                f"evaluate {name}",
                "evaluate",
                f"evaluate_{name}",
                [f"{root}/{name}", f"{samples}/test.jsonl"],
            )
            for name in STEPS
        ),
        ("report", "report", "report", [f"{root}/evaluate_{name}" for name in STEPS]),
    ]
    return config.QuickstartConfig(
        output=root,
        steps=tuple(
            config.StepConfig(
                name=name,
                title=title,
                verb=verb,
                config=f"{FILE}:{name}{behind}",
                inputs=tuple(inputs),
                output=f"{root}/{name}",
            )
            for title, verb, name, inputs in plan
        ),
        report=f"{root}/report",
        train_samples=200 if tiny else 14_000,
        unlabelled_samples=12 if tiny else 1500,
        test_samples=40 if tiny else 800,
    )


def model_inputs(name: str, root: str) -> list[str]:
    """Return the prepared data of a model, and the run that it starts from."""
    data = "student_data" if name in STUDENTS else "teacher_data"
    return [f"{root}/{data}/{name}", *([f"{root}/{BASE[name]}"] if name in BASE else [])]


def teacher_data(root: str) -> config.PrepareConfig:
    """Prepare the vocabulary and one mixture per stage; stage 1 has loss only on answers."""
    mixture = config.MixtureConfig
    rich = {"author": synthetic.AUTHOR, "loss": "answer_and_explanations"}
    return config.PrepareConfig(
        output=f"{root}/teacher_data",
        root=f"{root}/samples",
        sources=(config.SourceConfig("generated", "train.jsonl"),),
        mixtures=(
            mixture("stage1", forms=("text",), loss="answer"),
            mixture("stage2", forms=tuple(LETTERS.values()), **rich),
            *(mixture(f"stage3_{kind}", forms=(LETTERS[kind],), **rich) for kind in KINDS),
        ),
        vocabulary=config.VocabularyConfig(f"{root}/vocabulary", size=1024),
        length=LENGTH,
    )


def student_data(root: str) -> config.PrepareConfig:
    """Prepare the explained samples for both students: answers only, and with explanations."""
    mixture = config.MixtureConfig
    loss = "answer_and_explanations"
    return config.PrepareConfig(
        output=f"{root}/student_data",
        root=f"{root}/annotate/samples",
        sources=(config.SourceConfig("explained", "*.jsonl"),),
        mixtures=tuple(
            mixture(name, forms=(name.removeprefix("student_"),), author="teacher", loss=loss)
            for name in STUDENTS
        ),
        vocabulary=config.VocabularyConfig(f"{root}/vocabulary"),
        length=LENGTH,
    )


def train(name: str, root: str, tiny: bool) -> config.TrainConfig:
    """Train one stage or student."""
    steps, rate = STEPS[name]
    steps = 4 if tiny else steps
    return config.TrainConfig(
        output=f"{root}/{name}",
        data=model_inputs(name, root)[0],
        init_from=f"{root}/{BASE[name]}" if name in BASE else "",
        model=MODEL,
        optimizer=config.OptimizerConfig(
            learning_rate=rate,
            warmup_steps=steps // 10,
            schedule="linear",
            final_fraction=0.1,
            b2=0.99,
        ),
        batch_size=BATCH,
        steps=steps,
        log_every=200,
    )


def annotate(root: str, tiny: bool) -> config.AnnotateConfig:
    """Have each specialist write its kind; the gate `synthetic` solves the sample and compares."""
    return config.AnnotateConfig(
        output=f"{root}/annotate",
        root=f"{root}/samples",
        source=config.SourceConfig("unlabelled", "unlabelled.jsonl"),
        teachers=config.TeachersConfig(**{kind: f"{root}/stage3_{kind}" for kind in KINDS}),
        # A teacher of four steps would end every text at once at a low temperature.
        sampling=config.SamplingConfig(
            temperature=1.0 if tiny else 0.3, max_new_tokens=8 if tiny else 48
        ),
        gates=("finished", "not_empty", "synthetic"),
    )


def evaluate(name: str, root: str) -> config.EvaluateConfig:
    """Evaluate one model on held-out samples."""
    return config.EvaluateConfig(
        output=f"{root}/evaluate_{name}",
        root=f"{root}/samples",
        model=f"{root}/{name}",
        benchmarks=(config.BenchmarkConfig("generated", "test.jsonl"),),
    )
