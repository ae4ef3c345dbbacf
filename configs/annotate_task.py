"""CREAK, ECQA or StrategyQA, explained by the three specialists of TeacherLM-7.1B.

    teacherlm annotate --config=configs/annotate_task.py:creak
    teacherlm annotate '--config=configs/annotate_task.py:creak/davinci,server=URL#MODEL'

The variant is `creak`, `ecqa` or `strategyqa`, for students of one task. The training questions are
those of FLAN's collection, whose human chains of thought stay in the samples under the author
`human`. With `/davinci`, one model on a server writes all explanations, under the author `davinci`.
The paper used text-davinci-003, which is no longer available.

Settings after the variant, as in `creak,data=FOLDER`:

    data    folder of creak_train.jsonl, ecqa_train.jsonl and strategyqa_train.jsonl
            (default: data/rationale)
    root    folder of the teachers' runs and of the output (default: runs/teacher/7b1)
    server  address of the model for `/davinci`, as in http://localhost:8000/v1#my-model
"""

from teacherlm_jax import config
from teacherlm_jax.config import paper_models, variants
from teacherlm_jax.errors import UserError

SERVED = config.SamplingConfig(  # without top_k, which servers of the OpenAI API do not have
    temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=512
)


def get_config(argument: str = "") -> config.AnnotateConfig:
    """Return the annotation of one task."""
    variant, given = variants.parse(
        argument, data="data/rationale", root="runs/teacher/7b1", server=""
    )
    task, _, author = variant.partition("/")
    if task not in paper_models.TASKS or author not in ("", "davinci"):
        known = [f"{name}{own}" for name in paper_models.TASKS for own in ("", "/davinci")]
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(known)}")
    root, server = given["root"], given["server"]
    if bool(author) != bool(server):
        raise UserError(f"server: {server!r}; expected an address for TASK/davinci, and only there")
    return config.AnnotateConfig(
        output=f"{root}/annotate_{variant.replace('/', '_')}",
        root=given["data"],
        source=config.SourceConfig(task, f"{task}_train.jsonl", "cot"),
        teachers=config.TeachersConfig(
            cot=server or f"{root}/stage3_cot/checkpoints/best",
            fundamental=server or f"{root}/stage3_fundamental/checkpoints/best",
            mistake=server or f"{root}/stage3_mistake/checkpoints/best",
        ),
        author=author or "teacher",
        sampling=SERVED if author else config.authors_sampling(),
        stands_for=paper_models.NONE if author else f"data/{task}",
    )
