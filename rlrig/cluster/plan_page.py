"""A plan for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from presets.placement import LABEL
from rlrig.cluster.plan import Plan, Role
from rlrig.cluster.room import Verdict, resources_text

_GIB = 2**30
_UNCOUNTED = (
    "Bundles are those of the placement group (PACK) of each Serve replica. Memory is an estimate for one process, or "
    "for each of its GPUs: libraries, CUDA's context and an allocator's reserve are not in it; "
    "rlrig/cluster/memory_estimate.py says how each number is made."
)


def show_plan(plan: Plan, preset: str, verdict: Verdict | None = None, console: Console | None = None) -> None:
    """Print the tables, the totals, what is not known, and whether there is room."""
    console = console or Console()
    console.print(f"{preset}: nothing is started", highlight=False, style="dim", markup=False)
    console.print(_roles_table(plan))
    for title, on_gpu in (("GPU memory", True), ("memory", False)):
        roles = [role for role in plan.roles if role.estimate and (role.gpus > 0) == on_gpu]
        if roles:
            console.print(_memory_table(f"{title}, GiB", roles))
    console.print(_UNCOUNTED, style="dim", highlight=False)
    for role, reasons in plan.unknown.items():
        for reason in reasons:
            console.print(f"[yellow]not known[/], {role}: {escape(reason)}", highlight=False)
    console.print(f"\n{totals_text(plan)}", highlight=False, markup=False)
    if verdict is not None:
        console.print(verdict.text, style="green" if verdict.fits else "red", highlight=False, markup=False)
        for line in verdict.missing:
            console.print(f"  {line}", highlight=False, markup=False)


def plan_as_dict(plan: Plan, verdict: Verdict | None = None) -> dict[str, Any]:
    """The plan in JSON's types; memory in GiB, `null` where it is not known."""
    values: dict[str, Any] = {
        "roles": [_role_as_dict(role) for role in plan.roles],
        "totals": {"CPU": plan.total("CPU"), "GPU": plan.total("GPU")},
        "most": {"CPU": plan.full_grown.total("CPU"), "GPU": plan.full_grown.total("GPU")},
        "unknown": {role: list(reasons) for role, reasons in plan.unknown.items()},
    }
    if verdict is not None:
        values |= {"fits": verdict.fits, "verdict": verdict.text, "missing": list(verdict.missing)}
    return values


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
        memory = role.estimate.memory
        known = memory.known / _GIB
        more = "" if memory.complete else "≥ "
        every = role.count * (role.gpus or 1)
        table.add_row(
            role.name,
            *(_gib(part) for part in memory.parts().values()),
            more + _number(known) if known else "?",
            more + _number(known * every) if known else "?",
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for heading in headings:
        left = heading in ("runs as", "bundles", LABEL) or heading is headings[0]
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
        parts = {name: None if part is None else part / _GIB for name, part in role.estimate.memory.parts().items()}
        values["gpu_memory_gib" if role.gpus else "memory_gib"] = parts
    return values
