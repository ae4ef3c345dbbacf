"""FLOPs of a model, peak FLOP/s of devices, and model FLOPs utilization (MFU)."""

import dataclasses

from jax.sharding import Mesh

from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.models import adapter
from teacherlm_jax.models.forward_flops import forward_flops
from teacherlm_jax.training.peaks import PEAKS


def peak(kind: str) -> float | None:
    """Return the peak bfloat16 FLOP/s of a device of this kind; None if it is not known."""
    return next((flops for name, flops in PEAKS.items() if kind.startswith(name)), None)


def model_flops(
    config: ModelConfig, tokens: float, length: int, lora: LoraConfig | None = None
) -> float:
    """Return the FLOPs of forward and backward matrix products over `tokens` tokens.

    Texts have `length` tokens. A multiplication and an addition are two operations and the backward
    pass costs twice the forward pass, so this is the 6 · N · tokens of PaLM (arXiv 2204.02311,
    appendix B) with two differences. Attention counts only the pairs that a causal mask allows,
    (length + 1) / 2 keys per query: half of what PaLM counts. N counts the weights that tokens are
    multiplied with: it includes the output head even if it is tied to the embedding, but not the
    embedding lookup, positions, norms and biases. Recomputation (remat) and masked positions are
    not counted.

    With LoRA the backward pass costs as much as the forward pass for products with frozen weights,
    which have no gradient, and the adapters' products are added.

    Raises ValueError if `config.vocab_size` is still 0.
    """
    forward = forward_flops(config, tokens, tokens * (length + 1) / 2, tokens)
    if not (lora and lora.rank):
        return 3 * forward
    frozen = forward_flops(config, tokens, 0, tokens)
    adapters = 2 * adapter.size(config.width, config.layers, lora) * tokens
    return 3 * (forward + adapters) - frozen


@dataclasses.dataclass(frozen=True)
class Utilization:
    """Conversion of tokens per second to a fraction of the devices' peak FLOP/s.

    Attributes:
        device: `device_kind` of the devices in JAX.
        chips: number of devices.
        flops_per_token: model FLOPs of a training step per token.
        peak: FLOP/s of one device; None if it is not known, as for CPUs.
    """

    device: str
    chips: int
    flops_per_token: float
    peak: float | None

    @classmethod
    def on(
        cls, mesh: Mesh, model: ModelConfig, length: int, lora: LoraConfig | None = None
    ) -> "Utilization":
        """Return the conversion for rows of `length` tokens on the devices of a mesh."""
        kind = mesh.devices.flat[0].device_kind
        return cls(kind, mesh.size, model_flops(model, 1, length, lora), peak(kind))

    def rates(self, tokens_per_second: float) -> dict[str, float]:
        """Return `tokens_per_second_per_chip` and, if the peak is known, `mfu`.

        `mfu` is the model FLOPs utilization, from 0 to 1 (PaLM, arXiv 2204.02311, appendix B).
        """
        rates = {"tokens_per_second_per_chip": tokens_per_second / self.chips}
        if self.peak:
            rates["mfu"] = tokens_per_second * self.flops_per_token / (self.chips * self.peak)
        return rates

    def summary(self, tokens: int, seconds: float) -> dict[str, float | int | str | None]:
        """Return device, speed and FLOPs of a run that trained on `tokens` in `seconds`."""
        tokens_per_second = tokens / max(seconds, 1e-9)
        return {
            "device": self.device,
            "chips": self.chips,
            "tokens_per_second": tokens_per_second,
            **self.rates(tokens_per_second),
            "model_flops_per_token": self.flops_per_token,
            "peak_flops_per_chip": self.peak,
        }
