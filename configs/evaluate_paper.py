"""Evaluation of one model of the paper, for `teacherlm report --paper`.

    teacherlm evaluate --config=configs/evaluate_paper.py:teacher/7b1/stage3_cot
    teacherlm evaluate --config=configs/evaluate_paper.py:student/bloomz-7b1/multi/CMF
    teacherlm evaluate --config=configs/evaluate_paper.py:student/bloomz-7b1/pretrained

The variant is the name of the model, as docs/reference/paper.md lists them; the result stands for
that model on the page. Teachers are evaluated on MMLU, students of one task on that task, and all
others on CREAK, ECQA, StrategyQA and MMLU, with the TeacherLM authors' prompts.

Settings after the variant, as in `teacher/7b1/stage1,eval=FOLDER`:

    model      model to evaluate (default: the best checkpoint of the run that configs/teacher.py or
               configs/student.py writes; for `pretrained`, the model on the Hugging Face Hub)
    root       folder of the run folders (default: runs)
    eval       folder with creak.jsonl, ecqa.jsonl, strategy_qa.jsonl and mmlu_test.jsonl
               (default: data/eval)
    attention  fused on TPUs, blockwise elsewhere (default: that of the model)
"""

from teacherlm_jax import config
from teacherlm_jax.config import paper_models, variants
from teacherlm_jax.errors import UserError


def get_config(argument: str = "") -> config.EvaluateConfig:
    """Return the evaluation of one model of the paper."""
    name, given = variants.parse(argument, model="", root="runs", eval="data/eval", attention="")
    if name not in paper_models.MODELS:
        raise UserError(f"variant: {paper_models.unknown(name, paper_models.MODELS)}")
    return config.EvaluateConfig(
        output=f"{given['root']}/evaluate/{name}",
        root=given["eval"],
        model=given["model"] or model_of(name, given["root"]),
        benchmarks=tuple(
            config.BenchmarkConfig(format, paper_models.BENCHMARKS[format], format, style="authors")
            for format in paper_models.benchmarks_of(name)
        ),
        attention=given["attention"],
        stands_for=name,
    )


def model_of(name: str, root: str) -> str:
    """Return the path of a model that the configs of this folder train, or its address."""
    role, model, *training = name.split("/")
    if name == "other/bloom-176b" or training == ["pretrained"]:
        return paper_models.address(model)
    if role == "other":
        raise UserError(f"{name}: its weights are not published; set one, as in {name},model=PATH")
    if role == "teacher":
        return f"{root}/teacher/{model}/{training[0]}/checkpoints/best"
    return f"{root}/student/{model}/{'_'.join(training)}/checkpoints/best"
