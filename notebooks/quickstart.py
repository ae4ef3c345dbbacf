# ---
# jupyter:
#   colab:
#     provenance: []
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a teacher and compare two students
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/teacherlm_jax/blob/main/notebooks/quickstart.ipynb)
#
# A *teacher* is a language model that explains the answer of a question. A *student* is a model that is trained on the teacher's explanations. This notebook trains a small teacher on generated questions, lets it explain questions that have no explanations, and compares a student that reads these explanations with one that reads questions and answers only.
#
# The models have 0.9 million parameters, so a CPU is enough. On two cores of a machine that was busy with other work, all cells took 13 minutes.

# %% [markdown]
# ## Settings
#
# Every run has a folder below `ROOT`. A cell that you run again resumes its run, or returns the finished one. To start over with other settings, choose another `ROOT`.

# %% tags=["parameters"]
ROOT = "runs/notebook"
TRAIN_SAMPLES = 10_000  # explained samples that the teacher learns from
UNLABELLED_SAMPLES = 1_000  # samples that the teacher explains, from which the students learn
TEST_SAMPLES = 800  # samples to measure the accuracy
ANSWER_STEPS = 1_000  # of the teacher on questions and answers
EXPLANATION_STEPS = 2_000  # of the teacher on explanations
STUDENT_STEPS = 600  # of each student
SEEDS = (0, 1)  # each student is trained with each of these seeds
LAYERS, WIDTH, HEADS = 4, 128, 4  # of all models
TEMPERATURE, MAX_NEW_TOKENS = 0.3, 48  # of the explanations

# %% [markdown]
# ## Install
#
# The next cell does nothing if the package is installed, as in a clone after `make setup`. On Colab it takes a few minutes. It keeps the runtime's JAX, which belongs to the runtime's GPU or TPU. If that JAX is older than the package needs, the cell upgrades JAX together with its GPU or TPU plugin. If Colab then asks you to restart the session, do so, and run all cells again.

# %%
import importlib.util

if importlib.util.find_spec("teacherlm_jax") is None:
    # %pip install --quiet --no-deps git+https://github.com/OWNER/teacherlm_jax
    from teacherlm_jax import colab

    requirements = colab.requirements()
    # %pip install --quiet {requirements}

# %% [markdown]
# ## Generate data
#
# The questions are generated. Those that the teacher learns from have explanations, which are correct by construction, of three kinds: the chain of thought (`cot`), the fundamentals (background knowledge), and the common mistakes.

# %%
import json

import altair
import jax
from IPython.display import display

import teacherlm_jax
from teacherlm_jax import config
from teacherlm_jax.data import synthetic

altair.renderers.enable("svg")  # pictures; "default" draws interactive figures in the browser

SAMPLES = f"{ROOT}/samples"
train_rows = synthetic.write(f"{SAMPLES}/train.jsonl", TRAIN_SAMPLES, split="train")
synthetic.write(f"{SAMPLES}/unlabelled.jsonl", UNLABELLED_SAMPLES, split="unlabelled")
synthetic.write(f"{SAMPLES}/test.jsonl", TEST_SAMPLES, split="test")
print(json.dumps(train_rows[0], indent=1))

# %% [markdown]
# ## Train the teacher
#
# `prepare` trains a tokenizer, and packs the samples into rows of 256 tokens. A *mixture* is one training set. In the first one, the loss is on the answers. In the second one, each sample appears once with each kind of explanation (`C`, `F` and `M`).

# %%
LENGTH = 256
BATCH = max(2, jax.device_count())
MODEL = config.ModelConfig(
    layers=LAYERS, width=WIDTH, heads=HEADS, dtype="float32", initializer_range=0.08
)


def prepare(name, path, mixtures):
    """Prepare the mixtures of one source of samples."""
    return teacherlm_jax.prepare(
        config.PrepareConfig(
            output=f"{ROOT}/{name}",
            sources=(config.SourceConfig("samples", path),),
            mixtures=mixtures,
            vocabulary=config.VocabularyConfig(f"{ROOT}/vocabulary", size=1024),
            length=LENGTH,
        )
    )


prepared = prepare(
    "teacher_data",
    f"{SAMPLES}/train.jsonl",
    (
        config.MixtureConfig("answers", forms=("text",), loss="answer"),
        config.MixtureConfig(
            "explanations",
            forms=("C", "F", "M"),
            author=synthetic.AUTHOR,
            loss="answer_and_explanations",
        ),
    ),
)

# %% [markdown]
# `train` writes checkpoints, and logs the loss. The teacher is trained in two stages; the second one starts from the first one.


# %%
def train(name, data, steps, rate, init_from="", seed=0):
    """Train a model for some steps; return the result of the run."""
    return teacherlm_jax.train(
        config.TrainConfig(
            output=f"{ROOT}/{name}",
            data=f"{ROOT}/{data}",
            init_from=init_from and f"{ROOT}/{init_from}",
            model=MODEL,
            optimizer=config.OptimizerConfig(
                learning_rate=rate, warmup_steps=steps // 10, schedule="linear", b2=0.99
            ),
            batch_size=BATCH,
            steps=steps,
            seed=seed,
            log_every=max(1, steps // 5),
        )
    )


stage1 = train("stage1", "teacher_data/answers", ANSWER_STEPS, 1e-3)
stage2 = train("teacher", "teacher_data/explanations", EXPLANATION_STEPS, 1.5e-3, "stage1")

# %% [markdown]
# ## Read an explanation
#
# The teacher gets the question *and* its answer, and writes one explanation of each kind. *Gates* are automatic checks of each explanation.

# %%
teacher = teacherlm_jax.load(f"{ROOT}/teacher")
question = "Ann has 7 pens and finds 3 pens. True or false: Ann now has more than 16 pens."
options = ["True", "False"]
sampling = config.SamplingConfig(temperature=TEMPERATURE, max_new_tokens=MAX_NEW_TOKENS)

for kind, explanation in teacher.explain(question, options, "False", sampling=sampling).items():
    print(f"{kind}: {explanation}\n  passes the gates: {explanation.passed}")

# %% [markdown]
# Without the answer, `score` ranks the options by their log-probabilities:

# %%
scores = teacher.score(question, options)
print(scores.prediction, dict(zip(scores.options, scores.scores, strict=True)))

# %% [markdown]
# ## Explain a dataset
#
# `annotate` explains all samples without explanations. The gate `synthetic` solves each generated question. It accepts only what the generator itself would write, so at least the share that passes is correct. On your own data, no gate knows whether an explanation is true.

# %%
annotated = teacherlm_jax.annotate(
    config.AnnotateConfig(
        output=f"{ROOT}/annotate",
        source=config.SourceConfig("unlabelled", f"{SAMPLES}/unlabelled.jsonl"),
        teachers=config.TeachersConfig(
            **dict.fromkeys(("cot", "fundamental", "mistake"), f"{ROOT}/teacher")
        ),
        sampling=sampling,
        gates=("finished", "not_empty", "synthetic"),
    )
)
teacherlm_jax.figures(ROOT)["gates-annotate"]

# %% [markdown]
# ## Train two students
#
# Both students start from random weights and see the same questions and answers. `student_text` sees nothing else. After each answer, `student_CMF` also sees the chain of thought, the mistakes and the fundamentals. Both are trained for the same number of steps on rows of the same length, so they read equally many tokens; `student_text`, whose samples are shorter, reads each of them more often.

# %%
FORMS = ("text", "CMF")

prepared = prepare(
    "student_data",
    f"{ROOT}/annotate/samples/*.jsonl",
    tuple(
        config.MixtureConfig(form, forms=(form,), author="teacher", loss="answer_and_explanations")
        for form in FORMS
    ),
)
for form in FORMS:
    for seed in SEEDS:
        train(f"student_{form}_{seed}", f"student_data/{form}", STUDENT_STEPS, 1.5e-3, seed=seed)

# %% [markdown]
# ## Compare them
#
# `evaluate` measures the accuracy on new questions, by ranking the options.

# %%
models = ["teacher", *(f"student_{form}_{seed}" for form in FORMS for seed in SEEDS)]
for name in models:
    teacherlm_jax.evaluate(
        config.EvaluateConfig(
            output=f"{ROOT}/evaluate_{name}",
            model=f"{ROOT}/{name}",
            benchmarks=(config.BenchmarkConfig("generated", f"{SAMPLES}/test.jsonl"),),
        )
    )
figures = teacherlm_jax.figures(ROOT)
figures["accuracy-generated"]

# %% [markdown]
# The dashed line is the accuracy of always choosing the most frequent correct letter. The bars are 95% confidence intervals of one run each, over questions. Whether the explanations helped is a question about the *difference* between two ways of training, on the same questions and over the seeds. In this table, `student_text_*` is both seeds of the student without explanations. [Compare two models](../docs/how-to/compare.md) explains the columns:

# %%
print(teacherlm_jax.compare(ROOT))

# %% [markdown]
# With the settings above, the students without explanations scored higher on our machine: 75.2% and 73.4%, against 51.9% and 49.5% with explanations. The difference is 23.6 points, but its interval, −3.9 to 51.7, contains 0: two seeds are too few to tell them apart. With the same number of tokens, a student with explanations reads each question a third as often, and most of its loss is on the explanations. In [the quickstart on the command line](../docs/tutorial/quickstart.md) both students read each question equally often. The one with explanations then reads 2.8 times the tokens, and has the higher accuracy. [A study with ten seeds](../docs/explanation/evidence.md) compares both ways.
#
# An interval without 0 would tell them apart *here*: for a toy model, generated questions, one budget and two seeds. Change `STUDENT_STEPS`, `UNLABELLED_SAMPLES` and `SEEDS`, and the result may change.
#
# The report has all tables and figures. It is one file, `report.html`; download it to read it in your browser. These are its figures of the losses, one for each training set:

# %%
report = teacherlm_jax.write_report(
    config.ReportConfig(output=f"{ROOT}/report", root=ROOT, title="A teacher and two students")
)
print(report["page"])
for name, chart in figures.items():
    if name.startswith("loss"):
        display(chart)

# %% [markdown]
# ## Next
#
# - [Explain your own data](annotate_your_data.ipynb): a CSV file.
# - [Train students on one GPU](students_on_one_gpu.ipynb), from a Hugging Face model.
# - [The quickstart, step by step](../docs/tutorial/quickstart.md): the same flow on the command line, which also runs on TPU pods.
# - [Python API](../docs/reference/python-api.md): all functions and their arguments.
