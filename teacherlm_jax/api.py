"""The Python API: load a model, let it explain, score and generate; run commands; look at runs.

    import teacherlm_jax

    model = teacherlm_jax.load("runs/quickstart/stage2")
    texts = model.explain(question, options, answer)

`prepare`, `train`, `annotate`, `evaluate` and `convert` are the commands of these names, and
`write_report` is `report`, which is a subpackage's name. Each takes the config of its command and
returns the run's result. The run folder is `config.output`: an interrupted run is resumed, and a
finished one returns its result again. They raise UserError if the config, an input or the run
folder cannot be used, StoreError if a bucket does not answer, and Interrupted if a signal stopped
the run, which is saved.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.config import (
    AnnotateConfig,
    ConvertConfig,
    DryRunOptions,
    EvaluateConfig,
    MeshConfig,
    PrepareConfig,
    ReportConfig,
    TrainConfig,
    fields,
)
from teacherlm_jax.hf import any_model
from teacherlm_jax.interactive_model import Explanation as Explanation
from teacherlm_jax.interactive_model import Model
from teacherlm_jax.interactive_model import OptionScores as OptionScores
from teacherlm_jax.pipelines import verbs

if TYPE_CHECKING:
    import altair

    from teacherlm_jax.report.shown_samples import ShownSamples


def load(
    path: Path | str,
    *,
    mesh: Mesh | None = None,
    dtype: str = "",
    attention: str = "",
    weights: str = "",
) -> Model:
    """Load a model with its parameters onto the devices.

    Args:
        path: a run folder (its newest checkpoint), `RUN/checkpoints/STEP`,
            `RUN/checkpoints/best`, a Hugging Face folder, or `hf://org/name[@revision]`.
        mesh: devices that hold the parameters, with the axes data, fsdp and tensor; None: all
            devices.
        dtype: compute dtype, "float32" or "bfloat16"; empty: as trained.
        attention: attention implementation, such as "blockwise"; empty: as trained. A model that
            was trained with "fused" on a TPU needs another one elsewhere.
        weights: "int8" stores the weights in int8, which changes results slightly and needs the
            package qwix; empty: in `dtype`.

    Raises UserError if the model is missing, damaged or incomplete, if `mesh` has other axes, or
    if qwix is missing.
    """
    mesh = sharding.with_our_axes(mesh) if mesh else sharding.make_mesh(MeshConfig())
    settings = {"dtype": dtype, "attention": attention, "weights": weights}
    return Model(any_model.load(path, mesh, **settings), mesh)


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Tokenize datasets and pack them into rows on disk."""
    return _run("prepare", config)


def train(config: TrainConfig) -> dict[str, Any]:
    """Train a stage of a teacher, or a student."""
    return _run("train", config)


def annotate(config: AnnotateConfig) -> dict[str, Any]:
    """Have teachers explain every row of a dataset."""
    return _run("annotate", config)


def dry_run(config: AnnotateConfig) -> str:
    """Return a text about what `annotate` would do: usable rows, prompts, memory and time.

    Nothing is written. A few prompts are generated to measure the speed. Raises UserError where
    `annotate` would.
    """
    fields.check(config)
    return verbs.dry_run("annotate", config, DryRunOptions(dry_run=True))


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate a model on multiple-choice benchmarks."""
    return _run("evaluate", config)


def convert(config: ConvertConfig) -> None:
    """Convert a model from or to the Hugging Face format, or explained data to a dataset."""
    fields.check(config)
    verbs.run("convert", config)


def write_report(config: ReportConfig) -> dict[str, Any]:
    """Write tables and figures of runs, of a dataset, or of explanations, as HTML and Markdown."""
    return _run("report", config)


def figures(root: Path | str) -> "dict[str, altair.TopLevelMixin]":
    """Return the figures of a report on all runs below `root` as Altair charts, by name.

    The names are those of the files that `write_report` writes to `figures/`, such as "loss".
    Nothing is written. Raises UserError if `root` is not a folder or contains no run.
    """
    from teacherlm_jax.report import build  # takes a second to import

    return build.charts(root)


def compare(root: Path | str) -> str:
    """Return tables of the paired differences between all evaluated models below `root`.

    They are those that a report shows first: models that answered the same questions, with runs
    that differ only in their seed as one model, and the training behind each. Nothing is written.
    Raises UserError if `root` is not a folder or contains no run.
    """
    from teacherlm_jax.report import build  # takes a second to import

    return build.comparison_text(root)


def samples(run: Path | str, count: int = 5) -> "ShownSamples":
    """Return samples of an annotation run with their explanations and the verdicts of the gates.

    A notebook shows the value of a cell as Markdown; `print` writes plain text. Raises UserError if
    `run` has no explained sample, or `count` is not positive.
    """
    from teacherlm_jax.report import shown_samples  # takes a second to import

    return shown_samples.shown_samples(run, count)


def _run(verb: str, config: Any) -> dict[str, Any]:
    fields.check(config)
    result = verbs.run(verb, config)
    assert result is not None
    return result
