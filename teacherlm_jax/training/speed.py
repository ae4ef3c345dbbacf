"""How fast a run trains, beside what its devices could do at most."""

import dataclasses

from jax.sharding import Mesh

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.training.flops import model_flops

# Dense bfloat16 FLOP/s of a device, by how its kind begins in JAX, as the makers publish them.
PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200 NVL": 835e12,
    "NVIDIA H200": 989e12,
}


@dataclasses.dataclass(frozen=True)
class Speed:
    """What turns tokens a second into a share of the devices' peak.

    Attributes:
        device: its kind, as JAX calls it.
        chips: that share the work.
        flops_per_token: model FLOPs of a training step for each token.
        peak: FLOP/s of one chip; None where it is not known, as of CPUs.
    """

    device: str
    chips: int
    flops_per_token: float
    peak: float | None

    @classmethod
    def of(cls, model: ModelConfig, length: int, mesh: Mesh) -> "Speed":
        """Of a model on rows of `length` tokens, on the devices of a mesh."""
        kind = mesh.devices.flat[0].device_kind
        return cls(kind, mesh.size, model_flops(model, 1, length), peak(kind))

    def rates(self, tokens_per_second: float) -> dict[str, float]:
        """A chip's share of the tokens a second and, where its peak is known, `mfu`.

        That is the model FLOPs utilisation (PaLM, arXiv 2204.02311, appendix B), of 1.
        """
        found = {"tokens_per_second_per_chip": tokens_per_second / self.chips}
        if self.peak:
            found["mfu"] = tokens_per_second * self.flops_per_token / (self.chips * self.peak)
        return found


def peak(kind: str) -> float | None:
    """FLOP/s in bfloat16 of a device of this kind; None where it is not known."""
    return next((flops for name, flops in PEAKS.items() if kind.startswith(name)), None)
