"""Settings of `convert`."""

import dataclasses

from teacherlm_jax.config.dataset_config import DatasetConfig
from teacherlm_jax.config.fields import at_least, choice, group, location
from teacherlm_jax.config.model_config import MeshConfig
from teacherlm_jax.config.names import MODEL_PATHS


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
        help="folder to write: a new or empty folder, the output of an earlier run of the same "
        "import, or an interrupted export; a dataset can also be uploaded, to "
        "hf://datasets/org/name",
    )
    dtype: str = choice(
        *("", "float32", "bfloat16", "float16"),
        help="dtype of the stored parameters; the dtype of the computation is set when the model "
        "is used. Empty: float32 when converting from Hugging Face, the dtype of the checkpoint "
        "when converting to it",
    )
    shard_megabytes: int = at_least(
        1, 5000, help="largest size of one weights file written for Hugging Face, in MB"
    )
    mesh: MeshConfig = group(MeshConfig)
    dataset: DatasetConfig = group(DatasetConfig)
