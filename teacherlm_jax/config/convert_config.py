"""Settings of `convert`."""

import dataclasses

from teacherlm_jax.config.fields import at_least, choice, group, location
from teacherlm_jax.config.model_config import MeshConfig


@dataclasses.dataclass
class ConvertConfig:
    """Conversion of a checkpoint between the Hugging Face layout and ours, in either direction.

    The layout of the source decides the direction.
    """

    source: str = location(
        required=True, local=True, help="a Hugging Face model folder, or one of our run folders"
    )
    output: str = location(required=True, help="folder to write; must be empty or absent")
    dtype: str = choice(
        *("", "float32", "bfloat16", "float16"),
        help="dtype of the converted parameters; empty: float32 when converting from Hugging Face, "
        "the dtype of the checkpoint when converting to it",
    )
    shard_megabytes: int = at_least(
        1, 5000, help="largest size of one weights file written for Hugging Face, in MB"
    )
    mesh: MeshConfig = group(MeshConfig)
