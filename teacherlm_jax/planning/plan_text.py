"""The text of a plan."""

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.planning.programs import in_gib
from teacherlm_jax.planning.topology import Topology, unit
from teacherlm_jax.wording import counted

_ONLY = "matrix products only"
_WIDTH = 24  # of the names of figures, at least


def page(plan: Mapping[str, Any], wanted: Topology) -> str:
    """Return the figures of a plan, one per line; per chip unless the line says otherwise."""
    one, estimated = unit(wanted), "efficiency" in plan
    lines = [
        plan["summary"],
        f"on {wanted.name}: {counted(wanted.chips, one)}, mesh {_axes(plan['mesh'])}",
    ]
    if estimated:
        lines += [f"estimated: {plan['estimated']}", plan["efficiency"]["source"]]
    lines += [f"assumed: {sentence}" for sentence in plan["assumed"]]
    lines.append(f"{plan['parameters']:,} parameters")
    lines += _aligned(
        [
            (name, f"{in_gib(sizes['total'])} in total, {in_gib(sizes['chip'])} per {one}")
            for name, sizes in plan["held"].items()
        ]
    )
    if estimated:
        lines += ["", f"memory per {one}, at the peak", *_aligned(_parts(plan))]
    for program in plan["programs"]:
        seconds = program.get("compile_seconds")
        how = "estimated" if seconds is None else f"compiled in {seconds:.0f} s"
        lines += ["", f"{program['program']} ({how})", *_aligned(_rows(program, one))]
        lines += _aligned(_expected(program["expected"])) if estimated else []
    if speed := plan.get("speed"):
        basis = basis_of(plan) if estimated else "at best, by the rooflines"
        lines += ["", basis, *_aligned(_speed(speed, one))]
    return "\n".join(lines) + "\n"


def basis_of(plan: Mapping[str, Any]) -> str:
    """Return the origin of the hours of a plan for GPUs, in a few words."""
    calibrated = plan["efficiency"]["calibrated"]
    return "expected, calibrated" if calibrated else "expected, not calibrated"


def _parts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of the components of the memory, and their sum."""
    rows = [(name, in_gib(size)) for name, size in plan["memory_parts"].items()]
    return [*rows, ("in total", _memory(plan["programs"][0]))]


def _memory(figures: Mapping[str, Any]) -> str:
    verdict = figures.get("memory_note") or ("fits" if figures["fits"] else "does not fit")
    return f"{in_gib(figures['memory'])} of {in_gib(figures['memory_available'])}: {verdict}"


def _expected(expected: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the expected time of a program that was not compiled, and the shares behind it."""
    shares = (
        f"{expected['compute']:.0%} of the peak, {expected['memory']:.0%} of the bandwidth, "
        f"{expected['links']:.0%} of the links"
    )
    mfu = f", MFU {expected['mfu']:.1%}" if "mfu" in expected else ""
    return [("expected", f"{expected['seconds']:.4g} s{mfu} (at {shares})")]


def _speed(speed: Mapping[str, Any], one: str) -> list[tuple[str, str]]:
    """Return names and values of the speed of a run on the whole slice or all GPUs."""
    rows = [("tokens", f"{speed['tokens_per_second']:,.0f} per second")]
    if "steps" in speed:
        rows.append((counted(speed["steps"], "step"), total(speed, one)))
        return rows
    length = f"{speed['tokens_per_text']:.0f} tokens on average, as in the paper"
    rows.append(("explanations", f"{speed['texts_per_second']:,.1f} per second, of {length}"))
    if speed["rows"]:
        rows.append((counted(speed["rows"], "row"), total(speed, one)))
    return rows


def total(speed: Mapping[str, Any], one: str) -> str:
    """Return the hours of a whole run, and those of all its chips or GPUs."""
    return f"{speed['hours']:,.1f} hours, {speed['chip_hours']:,.1f} {one}-hours"


def _axes(mesh: Mapping[str, int]) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in mesh.items())


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((_WIDTH, *(len(name) + 2 for name, _ in rows)))
    return [f"  {name:<{width}}{value}" for name, value in rows]


def _rows(figures: Mapping[str, Any], one: str) -> list[tuple[str, str]]:
    """Return names and values of a program's figures; only its memory if that is all there is."""
    if "flops" not in figures:
        return [("peak memory", _memory(figures))]
    best = figures["roofline"]
    compiled = "compile_seconds" in figures
    rows = [
        *([("peak memory", _memory(figures))] if compiled else []),
        (f"{'compiled' if compiled else 'executed'} FLOPs", f"{figures['flops']:.3e}, {_ONLY}"),
        (
            "HBM traffic" if compiled else "memory traffic",
            f"{figures['memory_moved'] / 1e9:,.1f} GB",
        ),
        ("arithmetic intensity", f"{figures['intensity']:,.0f} FLOPs per byte"),
    ]
    rows += [(f"sent to other {one}s", line) for line in _sent(figures["sent"])]
    times = ", ".join(f"{name} {best[name]:.4g}" for name in ("compute", "memory", "links"))
    rows.append(("roofline", f"{best['seconds']:.4g} s, {best['bound']}-bound (seconds: {times})"))
    if figures["model_flops"]:
        rows.insert(int(compiled), ("model FLOPs", f"{figures['model_flops']:.3e} on all {one}s"))
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
