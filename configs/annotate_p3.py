"""P3-Sense-3K, explained by the three specialists of TeacherLM-7.1B, for students.

    teacherlm annotate --config=configs/annotate_p3.py --sweep_list
    teacherlm annotate --config=configs/annotate_p3.py --sweep_all

There is one job per task. Run all of them in turn, or one per machine with `--sweep_index=N`. The
files are those of the newest revision of bigscience/P3, in parquet.

Settings, as in `data=FOLDER`:

    data  folder of P3's files (default: data/P3)
    root  folder of the teachers' runs and of the output (default: runs/teacher/7b1)
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import p3

TASKS = p3.sources(layout="parquet")


def get_config(argument: str = "") -> config.AnnotateConfig:
    """Return the job of the first task; `sweep` has the others."""
    variant, given = variants.parse(argument, data="data/P3", root="runs/teacher/7b1")
    if variant:
        raise UserError(f"unknown variant {variant!r}; expected only settings, as in data=FOLDER")
    root = given["root"]
    return config.AnnotateConfig(
        output=f"{root}/annotate",
        root=given["data"],
        source=TASKS[0],
        teachers=config.TeachersConfig(
            cot=f"{root}/stage3_cot/checkpoints/best",
            fundamental=f"{root}/stage3_fundamental/checkpoints/best",
            mistake=f"{root}/stage3_mistake/checkpoints/best",
        ),
        sampling=config.authors_sampling(),
        stands_for="data/p3",
    )


def sweep():
    """Yield the name and path of each task."""
    for task in TASKS:
        yield task.name, {"source.name": task.name, "source.path": task.path}
