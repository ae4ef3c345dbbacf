# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
#     provenance: []
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Explain your own data
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/teacherlm_jax/blob/main/notebooks/annotate_your_data.ipynb)
#
# This notebook reads questions with answers from a CSV file, lets a teacher explain every row, and shows the explanations with the verdicts of automatic checks (*gates*).
#
# With bloomz-560m as the teacher, use a runtime with a GPU or TPU, such as Colab's T4. The run time on one has not been measured. On a CPU, a row takes minutes.

# %% [markdown]
# ## Settings
#
# No trained teacher is published yet. `TEACHER` can be
#
# - a published BLOOM, BLOOMZ or OPT model, as below. It was not trained to explain, so expect many poor explanations;
# - a teacher that you trained, such as `runs/notebook/teacher` of [the quickstart](quickstart.ipynb) (a toy that knows only generated questions), or a folder in the Hugging Face format;
# - a model on an OpenAI-compatible server: `http://HOST:PORT/v1#MODEL`.
#
# To use your own file on Colab, drag it into the panel *Files*, and set `CSV` and the names of the columns. If there is no such file, the notebook writes an example.

# %% tags=["parameters"]
CSV = "mine.csv"
QUESTION = "question"  # column of the question
OPTIONS = ("option_a", "option_b", "option_c")  # columns of the options; () for free-text answers
ANSWER = "answer"  # column of the answer: number, letter or text of an option, or free text
FIRST = 0  # number of the first option, if answers are numbers
TEACHER = "hf://bigscience/bloomz-560m"
RUN = "runs/annotate_mine"  # other settings need another folder
ROWS = 0  # number of rows to explain; 0: all
MAX_NEW_TOKENS = 128  # longest explanation
SLOTS = 16  # explanations generated at the same time; lower it if memory runs out

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
# ## Look at the file

# %%
import csv
import json
from pathlib import Path

import altair

import teacherlm_jax
from teacherlm_jax import config

altair.renderers.enable("svg")  # pictures; "default" draws interactive figures in the browser

EXAMPLE = """\
question,option_a,option_b,option_c,answer
Which of these animals is a mammal?,trout,whale,hen,whale
What does a plant need to make sugar?,sunlight,darkness,salt,sunlight
A train leaves at 9:40 and arrives at 11:10. How long is the journey?,70 minutes,90 minutes,130 minutes,90 minutes
Which of these is not a metal?,iron,copper,glass,glass
"Tom has 12 eggs, and 5 of them break. How many are whole?",5,7,17,7
Which planet is closest to the sun?,Venus,Mars,Mercury,Mercury
What happens to water at 0 degrees Celsius?,it boils,it freezes,it burns,it freezes
"If all roses are flowers, and this is a rose, is it a flower?",yes,no,nobody knows,yes
"""
if not Path(CSV).exists():
    Path(CSV).write_text(EXAMPLE, encoding="utf-8")

with open(CSV, encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
print(f"{len(rows)} rows with the columns {', '.join(rows[0])}")
rows[:2]

# %% [markdown]
# ## Check the settings
#
# The dry run reads all rows, lists those that cannot be used with the reason, shows the first prompts as the teacher reads them, and generates a few explanations to measure the speed. It writes nothing. `TEACHER` is downloaded here if it is on the Hugging Face Hub.

# %%
settings = config.AnnotateConfig(
    output=RUN,
    source=config.SourceConfig(
        "mine",
        CSV,
        format="columns",
        columns=config.ColumnsConfig(
            question=QUESTION, options=OPTIONS, answer=ANSWER, first=FIRST
        ),
        limit=ROWS,
    ),
    teachers=config.TeachersConfig(cot=TEACHER, fundamental=TEACHER, mistake=TEACHER),
    sampling=config.SamplingConfig(max_new_tokens=MAX_NEW_TOKENS),
    slots=SLOTS,
)
print(teacherlm_jax.dry_run(settings))

# %% [markdown]
# ## Explain
#
# If the cell is interrupted, run it again: it generates only the explanations that are missing, also those of rows that you add to the file later.

# %%
result = teacherlm_jax.annotate(settings)

# %% [markdown]
# ## Read the explanations
#
# The teacher explains a *given* answer; it does not find one. An explanation that passes the gates can still be wrong: no gate knows whether it is true. Read some before you train on them.

# %%
teacherlm_jax.samples(RUN, 5)

# %% [markdown]
# ## Which gates fail?
#
# The figure shows the share of explanations that pass each gate. An explanation fails `finished` if it was truncated at `MAX_NEW_TOKENS`, `concludes_answer` if it ends with another answer (chains of thought only), and `no_repetition` if it repeats itself. The documentation describes [all gates](../docs/reference/sample-format.md#gates).

# %%
figures = teacherlm_jax.figures(RUN)
figures[f"gates-{Path(RUN).name}"]

# %% [markdown]
# Read explanations that are much shorter or longer than the others first. The blue ones pass all gates:

# %%
lengths = [
    {
        "kind": kind,
        "tokens": annotation["new_tokens"],
        "gates": "all passed" if all(annotation["gates"].values()) else "some failed",
        "question": row["question"],
    }
    for path in sorted(Path(RUN, "samples").glob("*.jsonl"))
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    for kind, annotation in row["annotations"].items()
]
altair.Chart(altair.Data(values=lengths), width=440, height=altair.Step(36)).mark_circle(
    size=70, opacity=0.7
).encode(
    x=altair.X("tokens:Q", title="tokens of the explanation"),
    y=altair.Y("kind:N", title=None, sort=["cot", "fundamental", "mistake"]),
    yOffset="jitter:Q",
    color=altair.Color(
        "gates:N", title=None, scale=altair.Scale(domain=["all passed", "some failed"])
    ),
    tooltip=["question:N", "tokens:Q"],
).transform_calculate(jitter="random()")

# %% [markdown]
# ## Share the dataset
#
# `convert` writes a folder with a dataset card that `datasets.load_dataset` reads. Here it leaves out explanations that fail a gate.

# %%
DATASET = f"{RUN}_dataset"

if Path(DATASET).exists():
    print("kept; remove this folder to write it again:", DATASET)
else:
    checked = config.DatasetConfig(checked_only=True)
    teacherlm_jax.convert(config.ConvertConfig(RUN, DATASET, dataset=checked))
print(Path(DATASET, "README.md").read_text(encoding="utf-8").split("\n---\n")[-1])

# %% [markdown]
# ## Next
#
# - If many explanations fail, try a better teacher, or `attempts=3` in `AnnotateConfig`, which generates those that fail a gate again.
# - [Annotate your own CSV](../docs/how-to/annotate-your-csv.md) describes the same steps on the command line, and all settings. [Explain a whole dataset](../docs/how-to/annotate.md) uses several machines.
# - [Train students on one GPU](students_on_one_gpu.ipynb) on the explanations.
