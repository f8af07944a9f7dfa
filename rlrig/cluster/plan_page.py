"""A plan for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from presets.disk import Disk, PolicyDisk
from presets.keep import KEPT
from presets.memory.devices import Device
from presets.memory.switches import Switch
from presets.placement import LABEL
from presets.planning.plan import Plan, Role
from rlrig.cluster.room import Verdict, resources_text

_GIB = 2**30
_UNCOUNTED = (
    "Bundles are those of the placement group (PACK) of each Serve replica. Memory is an estimate for one process, or "
    "for each of its GPUs; an allocator's reserve is not in it. presets/memory/ says where the formulas come from."
)


def show_plan(
    plan: Plan,
    preset: str,
    verdict: Verdict | None = None,
    console: Console | None = None,
    misfits: Sequence[str] = (),
    disk: Disk | None = None,
    disk_gib: float = 0.0,
) -> None:
    """Print the tables, the totals, what is not known, what does not fit on its GPU, and whether there is room: in the
    cluster, and for the trajectories within `disk_gib`."""
    console = console or Console()
    console.print(f"{preset}: nothing is started", highlight=False, style="dim", markup=False)
    console.print(_roles_table(plan))
    for title, on_gpu in (("GPU memory", True), ("memory", False)):
        roles = [role for role in plan.roles if role.estimate and (role.gpus > 0) == on_gpu]
        if roles:
            console.print(_memory_table(f"{title}, GiB", roles))
            for role in roles:
                for line in role.estimate.lines if role.estimate else ():
                    console.print(f"  {role.name}, {line}", style="dim", highlight=False, markup=False)
    if plan.devices:
        console.print(_device_table(plan))
    for switch in plan.switches:
        console.print(f"  {switch}", style="dim", highlight=False, markup=False)
    console.print(_UNCOUNTED, style="dim", highlight=False)
    for source, models in _by_source(plan).items():
        console.print(f"sizes of {', '.join(models)}: {source}", style="dim", highlight=False, markup=False)
    for name, reasons in plan.unknown.items():
        for reason in reasons:
            console.print(f"[yellow]not known[/], {name}: {escape(reason)}", highlight=False)
    if disk is not None:
        console.print(_disk_table(disk))
        short = disk.total > disk_gib * _GIB
        console.print(disk_text(disk, disk_gib), style="red" if short else "dim", highlight=False, markup=False)
    console.print(f"\n{totals_text(plan)}", highlight=False, markup=False)
    for line in misfits:
        console.print(line, style="red", highlight=False, markup=False)
    if verdict is not None:
        console.print(verdict.text, style="green" if verdict.fits else "red", highlight=False, markup=False)
        for line in verdict.missing:
            console.print(f"  {line}", highlight=False, markup=False)


def plan_as_dict(
    plan: Plan, verdict: Verdict | None = None, misfits: Sequence[str] = (), disk: Disk | None = None
) -> dict[str, Any]:
    """The plan in JSON's types; memory and disk in GiB, `null` where it is not known."""
    values: dict[str, Any] = {
        "roles": [_role_as_dict(role) for role in plan.roles],
        "totals": {"CPU": plan.total("CPU"), "GPU": plan.total("GPU")},
        "most": {"CPU": plan.full_grown.total("CPU"), "GPU": plan.full_grown.total("GPU")},
        "unknown": {role: list(reasons) for role, reasons in plan.unknown.items()},
        "devices": [_device_as_dict(device) for device in plan.devices],
        "switches": [_switch_as_dict(switch) for switch in plan.switches],
        "sizes": dict(plan.sources),
        "misfits": list(misfits),
    }
    if disk is not None:
        values["trajectories"] = [_disk_as_dict(one) for one in disk.policies]
    if verdict is not None:
        values |= {"fits": verdict.fits, "verdict": verdict.text, "missing": list(verdict.missing)}
    return values


def disk_text(disk: Disk, disk_gib: float) -> str:
    """How the trajectories compare with `needs.disk_gib`, and what would make them fit."""
    text = f"The trajectories take about {_number(disk.total / _GIB)} GiB; needs.disk_gib is {disk_gib:g}"
    if disk.total <= disk_gib * _GIB:
        return f"{text}. Checkpoints, exported models and groups without a signal come on top."
    remedy = disk.remedy(disk_gib * _GIB)
    return f"{text}, which is too little: {f'set {remedy}, or ' if remedy else ''}raise needs.disk_gib."


def totals_text(plan: Plan) -> str:
    """What a cluster must offer, in one or two sentences."""
    total = {name: round(plan.total(name), 4) for name in ("CPU", "GPU")}
    text = f"The cluster must offer {resources_text(total)}"
    if len(plan.moments) > 1:
        text += "; of the learners one is alive at a time, and the larger counts"
    most = {name: round(plan.full_grown.total(name), 4) for name in total}
    if most != total:
        text += f"; fleets that grow with the backlog may take it to {resources_text(most)}"
    by_label: dict[str, dict[str, float]] = {}
    for roles in plan.moments.values():
        here: dict[str, dict[str, float]] = {}
        for role in roles:
            if role.required:
                sums = here.setdefault(_labels(role.required), {"CPU": 0.0, "GPU": 0.0})
                for name in sums:
                    sums[name] += role.total(name)
        for label, sums in here.items():
            most = by_label.setdefault(label, {"CPU": 0.0, "GPU": 0.0})
            by_label[label] = {name: max(most[name], sums[name]) for name in sums}
    parts = [f"{resources_text(sums)} on nodes with {label}" for label, sums in by_label.items()]
    return f"{text}{'. Of these ' if parts else ''}{', '.join(parts)}."


def _roles_table(plan: Plan) -> Table:
    table = _table("role", "runs as", "count", "CPUs", "GPUs", "bundles", LABEL)
    for role in plan.roles:
        group = f"{role.bundles} × {resources_text(role.bundle)}" if role.bundles else "–"
        table.add_row(
            role.name,
            role.runs_as,
            role.numbers,
            _each(role, "CPU"),
            _each(role, "GPU"),
            group,
            _nodes(role),
        )
    return table


def _memory_table(title: str, roles: list[Role]) -> Table:
    table = _table(title, "weights", "gradients", "optimizer", "activations", "KV cache", "sum", "× count")
    for role in roles:
        assert role.estimate is not None, "only roles that hold a model are here"
        known = role.estimate.known / _GIB
        more = "" if role.estimate.complete else "≥ "
        every = role.count * (role.gpus or 1)
        table.add_row(
            role.name,
            *(_gib(part) for part in role.estimate.parts().values()),
            more + _number(known) if known else "?",
            more + _number(known * every) if known else "?",
        )
    return table


def _device_table(plan: Plan) -> Table:
    table = _table("on one GPU, GiB", "GPUs", "phase", "peak", "of", "in CPU memory", "arithmetic")
    for device in plan.devices:
        for nth, peak in enumerate(device.peaks):
            table.add_row(
                "" if nth else device.name,
                "" if nth else str(device.count),
                peak.phase + (f" ({peak.policy})" if peak.policy else ""),
                ("" if device.complete else "≥ ") + _number(peak.nbytes / _GIB),
                "?" if device.gib is None else f"{device.gib:g}",
                _number(peak.asleep / _GIB),
                peak.how,
            )
    return table


def _by_source(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for model, source in plan.sources.items():
        found.setdefault(source, []).append(model)
    return found


def _device_as_dict(device: Device) -> dict[str, Any]:
    peaks = [
        {
            "phase": peak.phase,
            "while_training": peak.policy,
            "gib": peak.nbytes / _GIB,
            "asleep_gib": peak.asleep / _GIB,
        }
        for peak in device.peaks
    ]
    roles = [resident.role for resident in device.holds]
    return {"roles": roles, "count": device.count, "gib": device.gib, "complete": device.complete, "peaks": peaks}


def _switch_as_dict(one: Switch) -> dict[str, Any]:
    gib = {"leave_gib": one.sampling / _GIB, "come_gib": one.learner / _GIB}
    return {"while_training": one.policy, **gib, "seconds": one.seconds, "cheap_from_update_s": one.update_s}


def _disk_table(disk: Disk) -> Table:
    table = _table("trajectories, GiB an update", *(f"keep {kept}" for kept in KEPT), "updates", "keep", "in all")
    for one in disk.policies:
        each = (_number(one.update(kept) / _GIB) for kept in KEPT)
        table.add_row(one.policy, *each, str(one.updates), one.kept, _number(one.total() / _GIB))
    return table


def _disk_as_dict(one: PolicyDisk) -> dict[str, Any]:
    return {
        "while_training": one.policy,
        "updates": one.updates,
        "keep": one.kept,
        "update_gib": {kept: one.update(kept) / _GIB for kept in KEPT},
        "total_gib": one.total() / _GIB,
    }


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for heading in headings:
        left = heading in ("runs as", "bundles", "phase", "arithmetic", LABEL) or heading is headings[0]
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    return table


def _each(role: Role, resource: str) -> str:
    return f"{role.bundle.get(resource, 0.0) * max(1, role.bundles):g}"


def _nodes(role: Role) -> str:
    if role.preferred:
        return f"{role.preferred[LABEL]}, or any"
    return role.required.get(LABEL, "–" if role.runs_as == "process" else "any")


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _gib(amount: float | None) -> str:
    return "?" if amount is None else _number(amount / _GIB)


def _number(gib: float) -> str:
    return "–" if gib == 0 else f"{gib:.3f}" if gib < 1 else f"{gib:.1f}"


def _role_as_dict(role: Role) -> dict[str, Any]:
    values: dict[str, Any] = {
        "role": role.name,
        "runs_as": role.runs_as,
        "count": role.count,
        "most": role.most or role.count,
        "bundles": [dict(role.bundle)] * max(1, role.bundles),
        "placement_group": "PACK" if role.bundles else None,
        "required_labels": dict(role.required),
        "preferred_labels": dict(role.preferred),
        "while_training": role.policy,
    }
    if role.estimate is not None:
        values["arithmetic"] = list(role.estimate.lines)
        parts = {name: None if part is None else part / _GIB for name, part in role.estimate.parts().items()}
        values["gpu_memory_gib" if role.gpus else "memory_gib"] = parts
    return values
