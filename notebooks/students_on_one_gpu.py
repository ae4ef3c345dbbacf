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
# # Train students on one GPU
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/teacherlm_jax/blob/main/notebooks/students_on_one_gpu.ipynb)
#
# This notebook trains two students from a Hugging Face model with LoRA, one with explanations and one without, compares both with the model that they start from, and exports a student to the Hugging Face format.
#
# It is made for a GPU with 16 GB, such as Colab's T4, or a TPU, but has not run on one yet, so its time is not known. A T4 has no hardware for bfloat16: there, XLA computes in float32, which is slower than on newer GPUs. A CPU is too slow for this model.

# %% [markdown]
# ## Settings
#
# `MODEL` is BLOOM, BLOOMZ or OPT, on the Hugging Face Hub (`hf://org/name`) or in a folder. The students learn from `SAMPLES`, a file or glob in the sample format, such as `runs/annotate_mine/samples/*.jsonl`, which [annotate your data](annotate_your_data.ipynb) writes; then set `AUTHOR` to `"teacher"`, and `FORM` to the explanations that your samples have: `C` (chain of thought), `F` (fundamentals), `M` (common mistakes), `CM`, `CMF`, `FCM` or `shuffle`. Samples that lack one of them are left out of the data of this student. `TEST` has questions with answers that are not in `SAMPLES`. If both are empty, the notebook generates samples.

# %% tags=["parameters"]
MODEL = "hf://bigscience/bloomz-560m"
ROOT = "runs/students"  # other settings need another folder
SAMPLES, TEST = "", ""
AUTHOR = "program"  # who wrote the explanations
FORM = "CMF"
GENERATED_SAMPLES, GENERATED_TEST = 2_000, 400
STEPS = 150  # of each student
BATCH = 8  # rows per step; lower it if memory runs out
LENGTH = 512  # tokens per row
RANK = 16  # of the LoRA adapters
LEARNING_RATE = 2e-4

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
# ## Get the data

# %%
import dataclasses
import json
from pathlib import Path

import altair
import jax
from IPython.display import display

import teacherlm_jax
from teacherlm_jax import config
from teacherlm_jax.data import prompts, sample, synthetic

altair.renderers.enable("svg")  # pictures; "default" draws interactive figures in the browser
print(jax.devices())

if bool(SAMPLES) != bool(TEST):
    raise ValueError("set both SAMPLES and TEST, or leave both empty to generate samples")
if not SAMPLES:
    SAMPLES, TEST = f"{ROOT}/samples/train.jsonl", f"{ROOT}/samples/test.jsonl"
    synthetic.write(SAMPLES, GENERATED_SAMPLES, split="train")
    synthetic.write(TEST, GENERATED_TEST, split="test")

with open(TEST, encoding="utf-8") as file:
    question = sample.from_row(json.loads(file.readline()))
print(question)

# %% [markdown]
# `prepare` tokenizes the samples with the tokenizer of `MODEL` and packs them into rows: once without explanations (`text`), and once with them. The loss is on the answer and on the explanations. It also reports test questions that occur in the training data.

# %%
prepared = teacherlm_jax.prepare(
    config.PrepareConfig(
        output=f"{ROOT}/data",
        sources=(config.SourceConfig("samples", SAMPLES),),
        evaluation=(config.SourceConfig("test", TEST),),
        mixtures=tuple(
            config.MixtureConfig(form, forms=(form,), author=AUTHOR, loss="answer_and_explanations")
            for form in ("text", FORM)
        ),
        vocabulary=config.VocabularyConfig(MODEL),
        length=LENGTH,
    )
)

# %% [markdown]
# ## Try the model before training

# %%
prompt = prompts.question_prompt(question)
short = config.SamplingConfig(temperature=0, max_new_tokens=60)

base = teacherlm_jax.load(MODEL)
shape = base.loaded.config
print(prompt, "\n→", base.generate(prompt, sampling=short))
del base  # frees its memory

# %% [markdown]
# ## Train with LoRA
#
# The parameters of `MODEL` are frozen, in bfloat16. Only small adapters are trained, so the optimizer needs little memory. `remat="full"` recomputes activations instead of keeping them. If the run cannot fit, `train` says so before it starts, with settings that fit.


# %%
def train(form):
    """Train the student of a form; return the result of the run."""
    return teacherlm_jax.train(
        config.TrainConfig(
            output=f"{ROOT}/student_{form}",
            data=f"{ROOT}/data/{form}",
            init_from=MODEL,
            model=dataclasses.replace(shape, remat="full", attention="blockwise"),
            lora=config.LoraConfig(rank=RANK, alpha=2 * RANK),
            optimizer=config.OptimizerConfig(
                learning_rate=LEARNING_RATE, warmup_steps=STEPS // 10, schedule="linear"
            ),
            batch_size=BATCH,
            steps=STEPS,
            log_every=max(1, STEPS // 10),
        )
    )


results = {form: train(form) for form in ("text", FORM)}
for form, result in results.items():
    print(form, f"{result['trained_parameters']:,} of {result['parameters']:,} parameters trained")

# %%
for name, chart in teacherlm_jax.figures(ROOT).items():
    if name.startswith("loss"):
        display(chart)

# %% [markdown]
# The two losses are not comparable, because they are means over different tokens: those of answers, and those of answers and explanations.
#
# ## Evaluate
#
# `evaluate` ranks the options of each test question, in float32, for both students and for the model that they start from.

# %%
models = {"base": MODEL, **{f"student_{form}": f"{ROOT}/student_{form}" for form in results}}
for name, path in models.items():
    teacherlm_jax.evaluate(
        config.EvaluateConfig(
            output=f"{ROOT}/evaluate_{name}",
            model=path,
            benchmarks=(config.BenchmarkConfig("test", TEST),),
        )
    )
teacherlm_jax.figures(ROOT)["accuracy-test"]

# %% [markdown]
# The dashed line is the accuracy of always choosing the most frequent correct letter. The bars are 95% confidence intervals over questions. Compare the models by their paired differences:

# %%
print(teacherlm_jax.compare(ROOT))
report = teacherlm_jax.write_report(
    config.ReportConfig(output=f"{ROOT}/report", root=ROOT, title="Students on one GPU")
)
print(report["page"])

# %% [markdown]
# Each student was trained with one seed and on equally many tokens, so the one with explanations made fewer passes over the samples. The interval says how certain the difference is for *these two* trained models, not for the two ways of training. For that, train each with several values of `seed` in `TrainConfig`; the table then compares the groups.
#
# ## Read what the student writes

# %%
student = teacherlm_jax.load(f"{ROOT}/student_{FORM}")
print(prompt, "\n→", student.generate(prompt, sampling=short))

# %% [markdown]
# ## Export
#
# `convert` merges the adapters and writes a folder that `AutoModelForCausalLM` and `AutoTokenizer` load. With `adapters="peft"` it writes only the adapters, for PEFT.

# %%
MERGED = f"{ROOT}/student_{FORM}_merged"
if Path(MERGED).exists():
    print("kept; remove this folder to write it again:", MERGED)
else:
    teacherlm_jax.convert(config.ConvertConfig(f"{ROOT}/student_{FORM}", MERGED))
sorted(path.name for path in Path(MERGED).iterdir())

# %% [markdown]
# ## Next
#
# - [Fine-tune a student](../docs/how-to/fine-tune-a-student.md): validation, early stopping, and less memory.
# - [Compare two models](../docs/how-to/compare.md): seeds, and the training that each had.
