"""Shares of a GPU's published figures that programs reach: assumed, or measured.

All assumptions about speed that are not published figures are here.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning.analytic_counts import step_flops
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.planning.gpus import Gpu
from teacherlm_jax.planning.roofline import roofline
from teacherlm_jax.runs.versions import short_commit
from teacherlm_jax.storage import files

_MEASURE = "`make bench-gpu` on this GPU writes a file for --calibration"


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """Shares of the published figures, from 0 to 1.

    Attributes:
        training: of the bfloat16 peak, by a training step.
        prefill: of the bfloat16 peak, by a prefill.
        memory: of the memory's bandwidth.
        links: of the links.
        source: the origin of the shares, a sentence.
        calibrated: whether a share was measured on this kind of GPU.
    """

    training: float
    prefill: float
    memory: float
    links: float
    source: str
    calibrated: bool = False

    def expected(self, counts: Counts, gpu: Gpu, *, prefill: bool = False) -> dict[str, float]:
        """Return the expected `seconds` of a program, and the shares that it is assumed to reach.

        The seconds are the longest of the times of its resources.
        """
        best = roofline(counts, gpu)
        shares = {
            "compute": self.prefill if prefill else self.training,
            "memory": self.memory,
            "links": self.links,
        }
        return {"seconds": max(getattr(best, name) / shares[name] for name in shares), **shares}


# Training: MosaicML measured an MFU of 35 to 46% for models of 0.76 to 7 billion parameters with
# rows of 2,048 tokens on eight H100, with FlashAttention (mosaicml/llm-foundry,
# scripts/train/benchmarking/README.md, "H100 80GB BF16"). The other shares have no source: they are
# guesses below the goals of `make bench-gpu`, which are 70% for decoding.
ASSUMED = Efficiency(
    training=0.40,
    prefill=0.40,
    memory=0.60,
    links=0.70,
    source=f"not calibrated: the shares are assumed, nothing was measured; {_MEASURE}",
)


def load(path: str, gpu: Gpu) -> Efficiency:
    """Return the shares that `make bench-gpu` measured on a GPU; empty path: the assumed ones.

    A share that the file lacks is the assumed one. Raises UserError if the file cannot be read, was
    measured on another device or with tiny models, or has no such share.
    """
    if not path:
        return ASSUMED
    result = _read(path)
    kind = str(result.get("device", {}).get("kind"))
    if result.get("tiny") or not gpu.names(kind):
        found = "with tiny models on a CPU" if result.get("tiny") else f"on {kind}"
        raise UserError(
            f"--calibration={path}: was measured {found}; expected figures of {gpu.kind}, or leave "
            "it out"
        )
    try:
        measured = {
            "training": [_executed_share(case, gpu) for case in _cases(result, "train_step")],
            "prefill": [case["mfu"] for case in _cases(result, "prefill")],
            "memory": [case["roofline_share"] for case in _cases(result, "decode")],
        }
    except KeyError as error:
        raise UserError(
            f"--calibration={path}: a case has no {error}; expected the JSON of `make bench-gpu` "
            "of this version"
        ) from None
    shares = {name: _median(values) for name, values in measured.items()}
    known = {name: share for name, share in shares.items() if share is not None}
    if not known:
        raise UserError(
            f"--calibration={path}: has no measured case of train_step, prefill or decode; run "
            "`make bench-gpu` again"
        )
    assumed = [name for name in ("training", "prefill", "memory", "links") if name not in known]
    commit = short_commit(str(result.get("commit")))
    source = f"calibrated on {kind} at commit {commit}; {' and '.join(assumed)} assumed"
    return dataclasses.replace(ASSUMED, **known, source=source, calibrated=True)


def _read(path: str) -> dict[str, Any]:
    result = files.read_json(path)
    if not isinstance(result, dict) or not isinstance(result.get("parts"), dict):
        raise UserError(f"--calibration={path}: expected the JSON of `make bench-gpu`")
    return result


def _cases(result: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """Return the cases of a part that were measured."""
    cases = result["parts"].get(part, {}).get("cases", [])
    return [case for case in cases if "skipped" not in case and "failed" not in case]


def _executed_share(case: dict[str, Any], gpu: Gpu) -> float:
    """Return the share of the peak of all FLOPs that a measured training step executes."""
    keys = ("layers", "attention", "remat")
    model = registry.shape(case["model"], **{key: case[key] for key in keys})
    flops = step_flops(model, case["rows"] * case["length"], case["text"])
    return flops / case["step_seconds"] / gpu.peak


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
