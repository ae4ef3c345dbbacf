"""The text of a plan."""

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.programs import in_gib


def page(plan: Mapping[str, Any], tpu_slice: TpuSlice) -> str:
    """Return the figures of a plan, one per line; per chip unless the line says otherwise."""
    lines = [
        f"{plan['summary']}",
        f"on {tpu_slice.name}: {tpu_slice.chips} chips, mesh {_axes(plan['mesh'])}",
    ]
    lines += [f"assumed: {sentence}" for sentence in plan["assumed"]]
    lines.append(f"{plan['parameters']:,} parameters")
    lines += _aligned(
        [
            (name, f"{in_gib(sizes['total'])} in total, {in_gib(sizes['chip'])} per chip")
            for name, sizes in plan["held"].items()
        ]
    )
    for program in plan["programs"]:
        lines += ["", f"{program['program']} (compiled in {program['compile_seconds']:.0f} s)"]
        lines += _aligned(_rows(program))
    if speed := plan.get("speed"):
        lines += ["", "at best, by the rooflines", *_aligned(_speed(speed))]
    return "\n".join(lines) + "\n"


def _speed(speed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of the speed of an annotation on the whole slice."""
    length = f"{speed['tokens_per_text']:.0f} tokens on average, as in the paper"
    rows = [
        ("tokens", f"{speed['tokens_per_second']:,.0f} per second"),
        ("explanations", f"{speed['texts_per_second']:,.1f} per second, of {length}"),
    ]
    if speed["rows"]:
        rows.append(
            (
                f"{speed['rows']:,} rows",
                f"{speed['hours']:,.1f} hours, {speed['chip_hours']:,.1f} chip-hours",
            )
        )
    return rows


def _axes(mesh: Mapping[str, int]) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in mesh.items())


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"  {name:<24}{value}" for name, value in rows]


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of a program's figures; only its memory if it does not fit."""
    memory = f"{in_gib(figures['memory'])} of {in_gib(figures['memory_available'])}"
    if "flops" not in figures:
        return [("peak memory", f"{memory}: does not fit")]
    best = figures["roofline"]
    rows = [
        ("peak memory", f"{memory}: {'fits' if figures['fits'] else 'does not fit'}"),
        ("compiled FLOPs", f"{figures['flops']:.3e}, matrix products only"),
        ("HBM traffic", f"{figures['memory_moved'] / 1e9:,.1f} GB"),
        ("arithmetic intensity", f"{figures['intensity']:,.0f} FLOPs per byte"),
    ]
    rows += [("sent to other chips", line) for line in _sent(figures["sent"])]
    times = ", ".join(f"{name} {best[name]:.4g}" for name in ("compute", "memory", "links"))
    rows.append(("roofline", f"{best['seconds']:.4g} s, {best['bound']}-bound (seconds: {times})"))
    if figures["model_flops"]:
        rows.insert(1, ("model FLOPs", f"{figures['model_flops']:.3e} on all chips"))
        rows.append(("maximum MFU", f"{figures['mfu_bound']:.1%}"))
    if figures["loops_by_data"]:
        rows.append(
            ("loops over data", f"{figures['passes_by_data']:g} iterations assumed for each")
        )
    rows += [
        ("not counted", f"FLOPs of {times:g} calls of the kernel {name}")
        for name, times in figures["kernels_not_counted"].items()
    ]
    return rows


def _sent(sent: Sequence[Mapping[str, Any]]) -> list[str]:
    total = sum(item["bytes"] for item in sent)
    lines = [f"{total / 1e9:,.3f} GB"]
    return lines + [
        f"  {item['bytes'] / 1e9:,.3f} GB {item['kind']} along {item['axes'] or 'no axis'}"
        for item in sent
        if item["bytes"] >= total / 1000
    ]
