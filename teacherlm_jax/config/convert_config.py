"""Settings of `convert`."""

import dataclasses

from teacherlm_jax.config.fields import at_least, choice, group, location
from teacherlm_jax.config.model_config import MeshConfig
from teacherlm_jax.config.names import MODEL_PATHS


@dataclasses.dataclass
class ConvertConfig:
    """Conversion of a model from the Hugging Face format to a run folder, or back.

    The source decides the direction.
    """

    source: str = location(
        required=True, local=True, hub=True, help=f"model to convert: {MODEL_PATHS}"
    )
    output: str = location(
        required=True,
        local=True,
        help="folder to write: a new or empty folder, the output of an earlier run of the same "
        "import, or an interrupted export",
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
