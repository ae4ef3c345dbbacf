"""What `convert` can be told."""

import dataclasses

from teacherlm_jax.config.fields import at_least, choice, location
from teacherlm_jax.config.model_config import MeshConfig


@dataclasses.dataclass
class ConvertConfig:
    """A checkpoint from one layout to the other; what the source is decides the direction."""

    source: str = location(
        required=True, local=True
    )  # a folder of Hugging Face's layout, or a run folder of ours
    output: str = location(required=True)  # a folder that holds nothing yet
    # Of the parameters; empty: float32 on the way here, as they are on the way back.
    dtype: str = choice("", "float32", "bfloat16", "float16")
    shard_megabytes: int = at_least(1, 5000)  # of weights in a file for Hugging Face, at most
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
