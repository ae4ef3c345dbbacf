"""The paper's students: BLOOM, BLOOMZ and OPT, trained on explained samples (arXiv 2310.19019).

    teacherlm train --config=configs/student.py:bloomz-7b1/multi/CMF,base=hf://bigscience/bloomz-7b1
    teacherlm train --config=configs/student.py:bloomz-7b1/creak/C,base=hf://bigscience/bloomz-7b1

The variant is MODEL/SET/FORM:

    MODEL  one of the models in the tables below
    SET    multi: P3-Sense-3K explained by a teacher; learning rate 2e-5, 256 packed rows per step,
           one epoch with about ten validations on MMLU.
           creak, ecqa, strategyqa: one task; learning rate 6e-6, 64 packed rows per step, ten
           epochs, each followed by validation on the task's evaluation set.
    FORM   explanations after the answer, in order: text (none), C (chain of thought), M (common
           mistakes), F (fundamentals), CM, CMF, FCM or shuffle. With `multi`, P3 is the original
           P3 without explanations

The paper has two more kinds of single-task students. MODEL/SET/FORM/AUTHOR, as in
`bloomz-7b1/creak/C/human`, has explanations of another author, `human` or `davinci`. MODEL-multi,
as in `bloomz-7b1-multi/creak/C`, starts from a student of `multi`, which `base` names.

The rates are constant after warm-up. `configs/student_data.py` prepares the data, which has to be
there even for `--validate`, because the number of steps depends on it. The best checkpoint by
validation is kept. Validation uses the same rows that the tables below report, so the accuracy of
this checkpoint on them is optimistic.

Hardware and memory, from `plan` (compiled for the slice, not run; step times are the lower bound of
the roofline model). With `steps` set, `plan` does not need the data:

    teacherlm plan --config=configs/student.py:opt-6.7b/multi/CMF,steps=100 --topology=v5e:4x8

    model          slice    mesh                GiB per chip   step of `multi`
    bloom(z)-1b1   v5e:2x4  fsdp=8               9.8 of 15.8   3.3 s
    opt-1.3b       v5e:2x4  fsdp=8               7.0 of 15.8   3.6 s
    bloom(z)-3b    v5e:4x4  fsdp=16             14.1 of 15.8   3.9 s
    opt-2.7b       v5e:4x4  fsdp=16              8.3 of 15.8   3.6 s
    bloom(z)-7b1   v5e:4x8  fsdp=16, tensor=2   10.5 of 15.8   4.5 s (1.1 s for a single task)
    opt-6.7b       v5e:4x8  fsdp=16, tensor=2    9.8 of 15.8   4.3 s

Expected result: the paper's accuracy (%):

    zero-shot MMLU after `multi`     C     CMF   text
    bloom-1b1                       32.9   33.0   31.0
    bloom-3b                        38.1   38.0   36.1
    bloom-7b1                       42.6   43.0   39.2
    bloomz-1b1                      32.8   33.5   32.2
    bloomz-3b                       40.1   40.3   38.6
    bloomz-7b1                      44.0   44.7   41.3
    opt-1.3b                        35.8   34.3   33.1
    opt-2.7b                        38.4   39.4   37.0
    opt-6.7b                        42.2   42.7   39.1

    bloomz-7b1 after a single task   C      F      M    text
    creak                           77.0   54.8   58.2   64.0
    ecqa                            61.9   61.9   61.9   71.9
    strategyqa                      65.8   73.3   57.0   71.1

The paper has no CMF students for single tasks.

Settings after the variant, as in `bloomz-7b1/creak/C,epochs=3`:

    data       folder of the prepared mixtures (default: ROOT/SET_data, or ROOT/SET_AUTHOR_data)
    root       folder of the run folders; for several hosts, in a bucket or on a disk that all share
               (default: runs/student)
    base       model to start from, for example a Hugging Face folder, hf://bigscience/bloomz-7b1,
               or, for a single task, the student of `multi` (default: none, random parameters)
    eval       folder with creak.jsonl, ecqa.jsonl, strategy_qa.jsonl and mmlu_test.jsonl
               (default: data/eval; empty: no validation)
    epochs     number of epochs (default: 10 for single tasks; 1 for `multi`, for which the paper
               gives none)
    steps      number of steps instead of epochs (default: 0, use epochs)
    tokens     size of data that are not prepared yet, for `plan` (default: 0, read the data)
    attention  fused on TPUs (default), blockwise elsewhere
    tiny       two steps of a toy model, as a smoke test
"""

import math

from teacherlm_jax import config
from teacherlm_jax.config import paper_models, paper_slices, variants
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry

MODELS = paper_models.STUDENTS
AFTER_MULTI = tuple(f"{name}{paper_models.MULTI_FIRST}" for name in MODELS)
LENGTH = 2048  # tokens of a packed row
MULTI = "multi"
SETS = {  # learning rate, rows per step, epochs
    MULTI: (2e-5, 256, 1),
    **dict.fromkeys(("creak", "ecqa", "strategyqa"), (6e-6, 64, 10)),
}
TINY = (3e-4, 8, 1)  # rate, rows and warm-up of 560m/stage1 in configs/teacher.py: one program


def get_config(argument: str = "") -> config.TrainConfig:
    """Return the config of one model, set and form."""
    variant, given = variants.parse(
        argument,
        data="",
        root="runs/student",
        base="",
        eval="data/eval",
        epochs=0,
        steps=0,
        tokens=0.0,
        attention="fused",
        tiny=False,
    )
    name, which, form, author = _parts(variant)
    rate, rows, epochs = SETS[which]
    benchmark = "mmlu" if which == MULTI else which
    epochs, tiny = given["epochs"] or epochs, given["tiny"]
    folder = f"{given['data'] or given['root'] + _data_of(which, form, author)}"
    data = f"{folder}/student_{'text' if form == paper_models.ORIGINAL else form}"
    steps = 2 if tiny else given["steps"] or steps_of(data, rows, epochs, given["tokens"])
    warmup = min(100, steps // 2) if which == MULTI else 0
    measurements = 10 if which == MULTI else epochs
    where = paper_slices.STUDENTS[name.split("-")[1]]
    tensor, parts = where.tensor, where.parts * rows // SETS[MULTI][1]
    if tiny:
        (rate, rows, warmup), tensor, parts = TINY, 1, 1
    return config.TrainConfig(
        output=f"{given['root']}/{name}/{'_'.join(variant.split('/')[1:])}",
        data=data,
        init_from=given["base"],
        model=model(name, given["attention"], tiny),
        optimizer=config.OptimizerConfig(learning_rate=rate, warmup_steps=warmup),
        mesh=config.MeshConfig(data=1, fsdp=-1, tensor=tensor),
        checkpoint=config.CheckpointConfig(
            every=max(1, steps // 20), best=1 if given["eval"] else 0
        ),
        validation=validation(given["eval"], benchmark, every=-(-steps // measurements)),
        batch_size=rows,
        accumulate=parts,
        steps=steps,
        log_every=10,
        compilation_cache="" if tiny else f"{given['root']}/compiled",
        stands_for="" if tiny else _name_in_the_paper(variant),
    )


def _parts(variant: str) -> tuple[str, str, str, str]:
    """Return the model, set, form and author of a variant; UserError if one is unknown."""
    parts = variant.split("/")
    forms = (*config.FORMS, paper_models.ORIGINAL) if parts[1:2] == [MULTI] else config.FORMS
    known_parts = ((*MODELS, *AFTER_MULTI), SETS, forms, paper_models.AUTHORED)
    for part, known in zip(parts, known_parts, strict=False):
        if part not in known:
            raise UserError(f"unknown {part!r} in {variant!r}; known: {', '.join(known)}")
    if len(parts) not in (3, 4):
        raise UserError(
            "variant: expected MODEL/SET/FORM or MODEL/SET/FORM/AUTHOR, as in bloomz-7b1/creak/C, "
            f"got {variant!r}"
        )
    return parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else ""


def steps_of(data: str, rows: int, epochs: int, tokens: float) -> int:
    """Return the steps for all epochs over prepared data, or over this number of tokens."""
    if not tokens:
        return prepared.open(data).steps(rows, epochs)
    return math.ceil(tokens * epochs / (rows * LENGTH))


def _data_of(which: str, form: str, author: str) -> str:
    """Return the folder below the root that `configs/student_data.py` prepares."""
    if form == paper_models.ORIGINAL:
        return "/p3_data"
    return f"/{which}_{author}_data" if author else f"/{which}_data"


def _name_in_the_paper(variant: str) -> str:
    name = f"student/{variant}"
    return name if name in paper_models.TRAINED else paper_models.NONE


def model(name: str, attention: str, tiny: bool) -> config.ModelConfig:
    """Return the shape of the student, or a tiny one with the same parts."""
    if tiny:
        return registry.shape(f"{name.split('-')[0].removesuffix('z')}-tiny", vocab_size=0)
    shape = name.removesuffix(paper_models.MULTI_FIRST)
    return registry.shape(shape, remat="full", attention=attention)


def validation(folder: str, benchmark: str, every: int) -> config.ValidationConfig:
    """Return the benchmark that selects checkpoints, with the TeacherLM authors' prompts."""
    if not folder:
        return config.ValidationConfig()
    file = paper_models.BENCHMARKS[benchmark]
    measure = "macro_accuracy" if benchmark == "mmlu" else "accuracy"
    return config.ValidationConfig(
        every=every,
        root=folder,
        benchmarks=(config.BenchmarkConfig(benchmark, file, benchmark, style="authors"),),
        metric=f"{benchmark}/{measure}",
    )
