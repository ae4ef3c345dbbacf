"""TeacherLM on real data: a teacher of 10M parameters, one explained dataset, and a student.

    teacherlm prepare  --config=configs/real_data.py:teacher_data,data=FOLDER
    teacherlm train    --config=configs/real_data.py:teacher,data=FOLDER
    teacherlm annotate --config=configs/real_data.py:annotate,data=FOLDER
    teacherlm prepare  --config=configs/real_data.py:student_data,data=FOLDER
    teacherlm train    --config=configs/real_data.py:student,data=FOLDER
    teacherlm evaluate --config=configs/real_data.py:evaluate_teacher,data=FOLDER
    teacherlm evaluate --config=configs/real_data.py:evaluate_student,data=FOLDER
    teacherlm report   --config=configs/real_data.py:report

docs/tutorial/real-data.md explains each step and the files in FOLDER. The teacher learns chains of
thought from five sets of human rationales (GSM8K, ECQA, CREAK, AQuA, StrategyQA, as in the FLAN
collection) and explains CREAK statements that have none. The student is trained on these
explanations. Both are evaluated zero-shot on CREAK, ECQA, StrategyQA and MMLU. Models this small
stay near chance, as the intervals show. The whole flow takes about 25 minutes on two CPU cores, and
at most 1.5 GB of memory.

Settings after the variant, as in `teacher,tiny`:

    data  folder with the files of the tutorial (default: data)
    root  folder of the run folders (default: runs/real_data)
    tiny  a few steps on a few rows, as a smoke test
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.errors import UserError

RATIONALES = ("gsm8k", "ecqa", "creak", "aqua", "strategyqa")
BENCHMARKS = {
    "creak": ("creak.jsonl", "creak"),
    "ecqa": ("ecqa.jsonl", "ecqa"),
    "strategyqa": ("strategy_qa.jsonl", "strategyqa"),
    "mmlu": ("mmlu_test.jsonl", "mmlu"),
}
MODEL = config.ModelConfig(layers=6, width=320, heads=5, dtype="float32", initializer_range=0.05)
TINY_MODEL = config.ModelConfig(layers=1, width=32, heads=2, dtype="float32")
BATCH, LENGTH = 2, 512
STEPS = {"teacher": (1500, 1e-3), "student": (400, 1e-3)}


def get_config(argument: str = ""):
    """Return the config of one step."""
    variant, settings = variants.parse(argument, data="data", root="runs/real_data", tiny=False)
    data, root, tiny = settings["data"], settings["root"], settings["tiny"]
    steps = {
        "teacher_data": lambda: teacher_data(data, root, tiny),
        "teacher": lambda: train("teacher", root, tiny),
        "annotate": lambda: annotate(data, root, tiny),
        "student_data": lambda: student_data(root, tiny),
        "student": lambda: train("student", root, tiny),
        "evaluate_teacher": lambda: evaluate("teacher", data, root, tiny),
        "evaluate_student": lambda: evaluate("student", data, root, tiny),
        "report": lambda: config.ReportConfig(f"{root}/report", root, "TeacherLM on real data"),
    }
    if variant not in steps:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(steps)}")
    return steps[variant]()


def teacher_data(data: str, root: str, tiny: bool) -> config.PrepareConfig:
    """Prepare question, answer and human chain of thought; loss on answer and explanation."""
    return config.PrepareConfig(
        output=f"{root}/teacher_data",
        root=f"{data}/rationale",
        sources=tuple(
            config.SourceConfig(name, f"{name}_train.jsonl", "cot", limit=60 if tiny else 0)
            for name in RATIONALES
        ),
        mixtures=(config.MixtureConfig("teacher", forms=("C",), loss="answer_and_explanations"),),
        vocabulary=config.VocabularyConfig(f"{root}/vocabulary", size=600 if tiny else 8000),
        length=LENGTH,
    )


def student_data(root: str, tiny: bool) -> config.PrepareConfig:
    """Prepare the statements with the teacher's chains of thought."""
    return config.PrepareConfig(
        output=f"{root}/student_data",
        root=f"{root}/annotate/samples",
        sources=(config.SourceConfig("explained", "*.jsonl"),),
        mixtures=(
            config.MixtureConfig(
                "student", forms=("C",), author="teacher", loss="answer_and_explanations"
            ),
        ),
        vocabulary=config.VocabularyConfig(f"{root}/vocabulary"),
        length=LENGTH,
    )


def train(name: str, root: str, tiny: bool) -> config.TrainConfig:
    """Train teacher or student; they differ only in data and number of steps."""
    steps, rate = STEPS[name]
    steps = 3 if tiny else steps
    return config.TrainConfig(
        output=f"{root}/{name}",
        data=f"{root}/{name}_data/{name}",
        model=TINY_MODEL if tiny else MODEL,
        optimizer=config.OptimizerConfig(
            learning_rate=rate,
            warmup_steps=steps // 10,
            schedule="cosine",
            weight_decay=0.1,
            b2=0.99,
        ),
        checkpoint=config.CheckpointConfig(every=250),
        batch_size=BATCH,
        steps=steps,
        log_every=50,
    )


def annotate(data: str, root: str, tiny: bool) -> config.AnnotateConfig:
    """Let the teacher write a chain of thought for every statement."""
    return config.AnnotateConfig(
        output=f"{root}/annotate",
        root=f"{data}/unlabelled",
        source=config.SourceConfig(
            "creak", "creak_train_without_rationale.jsonl", "creak", limit=20 if tiny else 0
        ),
        teachers=config.TeachersConfig(cot=f"{root}/teacher"),
        sampling=config.SamplingConfig(temperature=0.7, max_new_tokens=8 if tiny else 64),
        gates=("finished", "not_empty", "no_other_trigger", "no_repetition"),
    )


def evaluate(name: str, data: str, root: str, tiny: bool) -> config.EvaluateConfig:
    """Evaluate on the four benchmarks of the paper, with the TeacherLM authors' prompts."""
    return config.EvaluateConfig(
        output=f"{root}/evaluate_{name}",
        root=f"{data}/eval",
        model=f"{root}/{name}",
        benchmarks=tuple(
            config.BenchmarkConfig(benchmark, path, form, style="authors", limit=30 if tiny else 0)
            for benchmark, (path, form) in BENCHMARKS.items()
        ),
    )
