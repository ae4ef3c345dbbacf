"""The card of a dataset: README.md with the metadata that `datasets` and the Hub read."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

import pyarrow as pa
import yaml

from teacherlm_jax.config import DatasetConfig
from teacherlm_jax.hf import dataset_schema
from teacherlm_jax.hf.dataset_rows import ExplainedRun
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.wording import counted

FILE = "README.md"
SPLIT = "train"

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")  # limits in the names of size categories
_SITE = "https://huggingface.co/docs/hub/repositories-licenses"


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """Facts about a dataset that its rows do not show.

    Attributes:
        address: what `load_dataset` takes: a folder, or a name on the Hub.
        rows: number of rows.
        schema: of all rows.
        missing: numbers of rows that were left out, by reason.
        prompt_versions: versions of the teachers' prompts.
    """

    address: str
    rows: int
    schema: pa.Schema
    missing: Mapping[str, int]
    prompt_versions: Sequence[str]


def loading(address: str) -> str:
    """Return the call of `datasets` that loads the rows of a folder, or of a name on the Hub.

    `datasets` does not read the card of a folder in a bucket, so a copy on a disk is loaded.
    """
    if not is_remote(address):
        return f"datasets.load_dataset({address!r}, split={SPLIT!r})"
    copied, name = shlex.quote(address.rstrip("/")), address.rstrip("/").rpartition("/")[2]
    call = f"datasets.load_dataset({name!r}, split={SPLIT!r})"
    return f"{call}  # after: gcloud storage cp --recursive {copied} ."


def card(run: ExplainedRun, config: DatasetConfig, facts: DatasetFacts) -> str:
    """Return the text of the dataset card."""
    name = run.config["source"]["name"] or "dataset"
    about = (
        f"The rows of `{name}`, with explanations that language models generated with "
        "[TeacherLM](https://arxiv.org/abs/2310.19019) prompts. No explanation was checked by a "
        "person; the verdicts of automatic checks are below."
    )
    load = f"rows = {loading(facts.address)}"
    licensed = (
        f"{config.license}; the source data has its own license."
        if config.license
        else "TODO: name the license of this dataset here and in the first lines of this file. The "
        "source data and the teacher have their own licenses."
    )
    parts = [
        *(f"---\n{_metadata(config, facts)}---", f"# {name} with explanations", about),
        f"```python\nimport datasets\n\n{load}\n```",
        *("## Rows", _rows(run, config, facts)),
        *("## Teachers", _teachers(run, facts)),
        *("## Checks (gates)", _gates(run, config)),
        *("## License", licensed),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(config: DatasetConfig, facts: DatasetFacts) -> str:
    """Return the YAML at the top of the card."""
    license = {"license": config.license} if config.license else {}
    values = {
        **license,
        **({"language": [config.language]} if config.language else {}),
        "size_categories": [size_category(facts.rows)],
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["explanations", "synthetic", "teacherlm"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": SPLIT, "path": f"{SPLIT}-*.{config.format}"}],
            }
        ],
        "dataset_info": {"features": dataset_schema.features(facts.schema)},
    }
    todo = "" if license else f"# license: TODO, one of {_SITE}\n"
    return todo + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def size_category(rows: int) -> str:
    """Return the Hub's name for a number of rows, such as `1K<n<10K`."""
    for exponent, limit in enumerate(_SIZES):
        if rows < 10 ** (exponent + 3):
            return f"{_SIZES[exponent - 1]}<n<{limit}" if exponent else f"n<{limit}"
    return "n>1B"


def _rows(run: ExplainedRun, config: DatasetConfig, facts: DatasetFacts) -> str:
    lines = [
        f"- {counted(facts.rows, 'row')} from {counted(run.result['rows'], 'explained sample')}",
        f"- {counted(run.result['refused'], 'row')} of the source could not be used",
    ]
    lines += [f"- rows left out ({why}): {count:,}" for why, count in sorted(facts.missing.items())]
    if config.checked_only:
        lines.append("- explanations that failed a gate were left out")
    if config.rows == "messages":
        lines.append(
            "- columns: `id` of the sample, `form` (`C`: chain of thought, `F`: fundamentals, `M`: "
            "common mistakes, in the order of the letters), and `messages`, in which the "
            "user asks the question and the assistant answers and explains"
        )
    else:
        lines.append(
            "- columns: `question`, `options`, the correct `answer`, `explanations[kind][author]` "
            "(kinds: `cot`, `fundamental`, `mistake`); a missing explanation is null"
            + ("" if not config.annotations else "; `annotations[kind]` says how the explanation "
               f"of `{run.config['author']}` was generated")
        )  # fmt: skip
    return "\n".join(lines)


def _teachers(run: ExplainedRun, facts: DatasetFacts) -> str:
    lines = ["| kind | teacher | step | digest of the parameters | explanations | mean tokens |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for kind, figures in run.result["kinds"].items():
        lines.append(
            f"| `{kind}` | {_cell(figures['teacher'])} | {figures['step']} | "
            f"`{figures['model_digest']}` | {figures['count']:,} | {figures['mean_tokens']:.1f} |"
        )
    settings = {**run.config["sampling"], "seed": run.config["seed"]}
    sampling = ", ".join(f"{key} {value}" for key, value in settings.items() if value != [])
    versions = ", ".join(facts.prompt_versions) or "not recorded"
    return "\n".join(
        [
            *lines,
            "",
            f"- sampling: {sampling}",
            f"- version of the prompts: {versions}",
        ]
    )


def _gates(run: ExplainedRun, config: DatasetConfig) -> str:
    """Return the table of the gates: rows are gates, columns are kinds."""
    kinds = run.result["kinds"]
    if not any(figures["gates"] for figures in kinds.values()):
        return "No gate was configured, so no explanation was checked."
    names = dict.fromkeys(gate for figures in kinds.values() for gate in figures["gates"])
    lines = [
        f"| passed | {' | '.join(f'`{kind}`' for kind in kinds)} |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    for gate in names:
        counts = [
            _share(
                figures["gates"].get(gate), figures.get("judged", {}).get(gate, figures["count"])
            )
            for figures in kinds.values()
        ]
        lines.append(f"| `{gate}` | {' | '.join(counts)} |")
    counts = [_share(figures["passed_all_gates"], figures["count"]) for figures in kinds.values()]
    lines.append(f"| all gates | {' | '.join(counts)} |")
    note = "Counts are of all generated explanations" + (
        ", also those that were left out." if config.checked_only else "."
    )
    return "\n".join([note, "", *lines])


def _share(passed: int | None, count: int) -> str:
    if passed is None:
        return "not checked"
    return f"{passed:,} of {count:,} ({passed / count:.1%})" if count else "no verdict"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
