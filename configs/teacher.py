"""The paper's teachers: BLOOM of five sizes, trained in three stages (arXiv 2310.19019).

    teacherlm train --config=configs/teacher.py:7b1/stage1,base=hf://bigscience/bloom-7b1,mmlu=FILE
    teacherlm train --config=configs/teacher.py:7b1/stage2,mmlu=FILE
    teacherlm train --config=configs/teacher.py:7b1/stage3_cot,mmlu=FILE
    teacherlm train --config=configs/teacher.py:7b1/stage3_fundamental,mmlu=FILE
    teacherlm train --config=configs/teacher.py:7b1/stage3_mistake,mmlu=FILE

The variant is SIZE/STAGE. Stage 1 trains published BLOOM (`base`) to answer questions (P3-Sense-3K
and Muffin-3W). Stage 2 starts from the stage-1 checkpoint with the best MMLU accuracy and adds all
three kinds of explanations (TeacherData). Stage 3 trains one specialist per kind from the best
stage-2 checkpoint. `no_stage` is the paper's control: all data mixed from the start, for the same
number of steps. As in the paper, 176b has only stage 2, from `base`.
`configs/teacher_data.py:all` prepares the data.

Hardware, memory and time, from `plan` (compiled for the slice, not run; times are the lower bound
of the roofline model):

    teacherlm plan --config=configs/teacher.py:7b1/stage2 --topology=v5e:8x8

    size  batch  slice      mesh                GiB per chip    step
    560m   256   v5e:4x4    fsdp=16              5.8 of 15.8    1.4 s
    1b1    512   v5e:4x4    fsdp=16              8.8 of 15.8    4.1 s
    3b     512   v5e:4x8    fsdp=32             13.8 of 15.8    6.1 s
    7b1    768   v5e:8x8    fsdp=32, tensor=2    9.9 of 15.8    7.2 s
    176b  1024   v5p:8x8x4  fsdp=32, tensor=8   40.1 of 95.7   23.5 s

    size  stage1                stage2                 each stage3
    560m   9,537 steps, 3.7 h   14,305 steps,  5.6 h     954 steps, 0.4 h
    1b1    4,768 steps, 5.5 h    7,153 steps,  8.2 h     477 steps, 0.5 h
    3b     4,768 steps, 8.1 h    7,153 steps, 12.1 h     477 steps, 0.8 h
    7b1      318 steps, 0.6 h    5,086 steps, 10.2 h     954 steps, 1.9 h
    176b         -                 477 steps,  3.1 h         -

In the paper, 7b1 has only 0.5 billion tokens in stage 1, where the smaller models have 5 billion.

On other slices, set config.mesh and config.accumulate.

Expected result: the paper's MMLU accuracy (%, zero-shot, mean over subjects):

    size   stage1  stage2  stage3_cot  stage3_fundamental  stage3_mistake  no_stage
    560m    31.0    36.5      38.4            34.7              34.9         35.3
    1b1     32.9    41.4      41.4            39.3              38.8         40.3
    3b      36.5    46.3      46.7            45.2              45.1         46.0
    7b1     41.5    51.1      52.3            50.3              49.0         47.0
    176b     -      59.8       -               -                 -            -

As in the paper, checkpoints are selected by the accuracy on the same MMLU rows that the table
reports, so the table is optimistic. The TeacherLM authors also inspected generated samples by hand
after stages 2 and 3.

Settings after the variant, as in `7b1/stage2,root=/mnt/runs`:

    data       folder of the prepared mixtures (default: ROOT/teacher_data)
    root       folder of the run folders; for several hosts, in a bucket or on a disk that all share
               (default: runs/teacher)
    base       model that stage 1, the control and 176b start from, for example a Hugging Face
               folder or hf://bigscience/bloom-7b1 (default: none, random parameters). Every other
               stage starts from the stage before, whatever `base` is; to start it from another
               model, add --config.init_from=MODEL
    mmlu       MMLU test rows, as in cais/mmlu (default: data/eval/mmlu_test.jsonl; empty: no
               validation and no best checkpoint, which the next stage needs)
    attention  fused on TPUs (default), blockwise elsewhere
    tiny       two steps of a toy model, as a smoke test
"""

from teacherlm_jax import config
from teacherlm_jax.config import paper_models, paper_slices, variants
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry

LENGTH = 2048
BILLION = 10**9
STAGES, CONTROL = paper_models.STAGES[:-1], paper_models.STAGES[-1]

# From the paper: peak learning rate, rows per step, and tokens of stages 1, 2 and 3.
PAPER = {
    "560m": (3e-4, 256, (5 * BILLION, 7.5 * BILLION, 0.5 * BILLION)),
    "1b1": (1e-4, 512, (5 * BILLION, 7.5 * BILLION, 0.5 * BILLION)),
    "3b": (4e-5, 512, (5 * BILLION, 7.5 * BILLION, 0.5 * BILLION)),
    "7b1": (2e-5, 768, (0.5 * BILLION, 8 * BILLION, 1.5 * BILLION)),
    "176b": (6e-5, 1024, (0, 1 * BILLION, 0)),
}


def get_config(argument: str = "") -> config.TrainConfig:
    """Return the config of one size and stage."""
    variant, given = variants.parse(
        argument,
        data="",
        root="runs/teacher",
        base="",
        mmlu="data/eval/mmlu_test.jsonl",
        attention="fused",
        tiny=False,
    )
    size, _, stage = variant.partition("/")
    known = [f"{each}/{name}" for each in PAPER for name in stages_of(each)]
    if variant not in known:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(known)}")
    rate, rows, _ = PAPER[size]
    tiny, steps = given["tiny"], 2 if given["tiny"] else steps_of(size, stage)
    where = paper_slices.TEACHERS[size]
    tensor, parts = (1, 1) if tiny else (where.tensor, where.parts)
    return config.TrainConfig(
        output=f"{given['root']}/{size}/{stage}",
        data=f"{given['data'] or given['root'] + '/teacher_data'}/teacher_{stage}",
        init_from=start_of(size, stage, given["root"], given["base"]),
        model=model(size, given["attention"], tiny),
        optimizer=config.OptimizerConfig(learning_rate=rate, warmup_steps=min(100, steps // 2)),
        mesh=config.MeshConfig(data=1, fsdp=-1, tensor=tensor),
        checkpoint=config.CheckpointConfig(
            every=max(1, steps // 100), best=1 if given["mmlu"] else 0
        ),
        validation=validation(given["mmlu"], every=max(1, steps // 20)),
        batch_size=8 if tiny else rows,
        accumulate=parts,
        steps=steps,
        log_every=10,
        compilation_cache="" if tiny else f"{given['root']}/compiled",
        stands_for="" if tiny else f"teacher/{variant}",
    )


def stages_of(size: str) -> tuple[str, ...]:
    """Return the stages in which the paper trained a size."""
    return ("stage2",) if size == "176b" else (*STAGES, CONTROL)


def steps_of(size: str, stage: str) -> int:
    """Return the steps for the paper's tokens; the control takes as many as all three stages."""
    _, rows, tokens = PAPER[size]
    budget = sum(tokens) if stage == CONTROL else tokens[int(stage[len("stage")]) - 1]
    return round(budget / (rows * LENGTH))


def start_of(size: str, stage: str, root: str, base: str) -> str:
    """Return the model that a stage starts from."""
    earlier = paper_models.stage_before(size, stage)
    return f"{root}/{size}/{earlier}/checkpoints/best" if earlier else base


def model(size: str, attention: str, tiny: bool) -> config.ModelConfig:
    """Return the shape of BLOOM in a size, or a tiny one with the same parts."""
    if tiny:
        return registry.shape("bloom-tiny", vocab_size=0)
    return registry.shape(f"bloom-{size}", remat="full", attention=attention)


def validation(mmlu: str, every: int) -> config.ValidationConfig:
    """Return MMLU by rank classification, with the TeacherLM authors' prompts."""
    if not mmlu:
        return config.ValidationConfig()
    return config.ValidationConfig(
        every=every,
        benchmarks=(config.BenchmarkConfig("mmlu", mmlu, "mmlu", style="authors"),),
        metric="mmlu/macro_accuracy",
    )
