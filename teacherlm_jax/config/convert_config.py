"""Settings of `convert`."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.config.dataset_config import DatasetConfig
from teacherlm_jax.config.fields import at_least, choice, group, location
from teacherlm_jax.config.model_config import MeshConfig
from teacherlm_jax.config.names import HUB, MODEL_PATHS

NOT_FOR_IMPORTS = (
    "'float16' is for exports; parameters of a run are float32, which holds every float16 value, "
    "or bfloat16; choose one of them"
)


@dataclasses.dataclass
class ConvertConfig:
    """Conversion of a model from or to the Hugging Face format, or of explained data to a dataset.

    The source decides: a Hugging Face model becomes a run folder, a checkpoint becomes a Hugging
    Face model, and a finished `annotate` run becomes a dataset.
    """

    source: str = location(
        required=True,
        local=True,
        hub=True,
        help="model to convert: "
        f"{MODEL_PATHS}; or the run folder of a finished `annotate`, to write a dataset",
    )
    output: str = location(
        required=True,
        local=True,
        hub=True,
        help="folder to write, new or empty; or the folder of the same import, or of an export to "
        "a bucket, that was interrupted; or hf://datasets/org/name, to upload a dataset",
    )
    dtype: str = choice(
        *("", "float32", "bfloat16", "float16"),
        help="dtype of the stored parameters, float16 for exports only; the dtype of the "
        "computation is set when the model is used. Empty: float32 when converting from Hugging "
        "Face, the dtype of the checkpoint when converting to it",
    )
    adapters: str = choice(
        *("merged", "peft"),
        help="export of a LoRA run: 'merged' writes the whole model with the adapters merged into "
        "its weights, 'peft' writes only the adapters, for PeftModel.from_pretrained",
    )
    shard_megabytes: int = at_least(
        1, 5000, help="largest size of one weights file written for Hugging Face, in MB"
    )
    mesh: MeshConfig = group(MeshConfig)
    dataset: DatasetConfig = group(DatasetConfig)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.dtype == "float16" and _is_imported(self.source):
            yield "dtype", NOT_FOR_IMPORTS


def _is_imported(source: str) -> bool:
    """Return whether a source is a Hugging Face model, as far as this machine shows."""
    if "://" in source:
        return source.startswith(HUB)
    try:
        content = json.loads(Path(source, "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "model_type" in content
