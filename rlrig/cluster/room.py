"""Whether a cluster has room for what a run asks of Ray, and what is missing where it has not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from presets.planning.packing import Demand, Node, Resources, impossible, pack
from presets.planning.plan import Plan, Role
from rlrig.cluster.nodes import Cluster

UNKNOWN_GROWTH = (
    "its nodes belong to node groups, so that an autoscaler may add some, and Ray does not tell which: "
    "--cluster FILE names the file of `ray up` that says it"
)


@dataclass(frozen=True)
class Verdict:
    """`missing` has a line for each role that finds no room, and is empty where all do."""

    text: str
    missing: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.missing


def judge(plan: Plan, cluster: Cluster) -> Verdict:
    """Whether all roles fit on the cluster's nodes, or on those and what its autoscaler may add. What else runs in the
    cluster is not looked at: all of each node counts.

    Raises:
        TimeoutError: see `pack`.
    """
    there = f"{len(cluster.nodes)} node{'' if len(cluster.nodes) == 1 else 's'}"
    short = _missing(plan, cluster.nodes)
    if not short:
        return Verdict(f"the plan fits on the {there} of the cluster")
    if cluster.types is None:
        return Verdict(f"the plan does not fit on the {there} of the cluster, and {UNKNOWN_GROWTH}", short)
    if not cluster.grows:
        return Verdict(f"the plan does not fit on the {there} of the cluster", short)
    short = _missing(plan, cluster.full_grown)
    most = f"{len(cluster.full_grown)} nodes that its autoscaler may bring it to"
    return Verdict(f"the plan {'does not fit' if short else 'fits'} on the {most} ({there} now)", short)


def refusals(plan: Plan, cluster: Cluster) -> tuple[str, ...]:
    """Why a run with this plan could never start here; empty where it could, or might.

    Without an autoscaler that is everything that finds no room. With one only what neither a node nor a node type could
    hold; where the types are not known, nothing.

    Raises:
        TimeoutError: see `pack`.
    """
    if cluster.types is None:
        return ()
    if not cluster.grows:
        return _missing(plan, cluster.nodes)
    nodes = (*cluster.nodes, *(kind.node for kind in cluster.types if kind.most))
    roles = {role.name: role for role in plan.roles}
    return tuple(
        _line(roles[demand.role], demand.count, nodes) for demand in impossible([r.demand for r in plan.roles], nodes)
    )


def _missing(plan: Plan, nodes: Sequence[Node]) -> tuple[str, ...]:
    """A line for each role without room, about the first moment of the run in which it has none."""
    lines: dict[str, str] = {}
    for policy, roles in plan.moments.items():
        short = pack([role.demand for role in roles if role.runs_as != "process"], nodes).missing
        for role in roles:
            if role.name in short:
                while_ = f" while the {policy} trains" if role.policy is None and len(plan.moments) > 1 else ""
                lines.setdefault(role.name, _line(role, short[role.name], nodes, while_))
    return tuple(lines.values())


def _line(role: Role, without: int, nodes: Sequence[Node], while_: str = "") -> str:
    demand = role.demand
    where = "".join(f" with {key}={value}" for key, value in demand.labels.items())
    bundle = resources_text(demand.bundle)
    each = f"{demand.bundles} × {bundle}" if demand.bundles > 1 else bundle
    return (
        f"{role.name}: {without} of {role.count} without room{while_}; each needs {each} on a node{where}, and "
        f"{_why(demand, nodes)}. Add nodes, or change {', '.join(role.keys)}"
    )


def _why(demand: Demand, nodes: Sequence[Node]) -> str:
    labelled = [node for node in nodes if demand.labels.items() <= node.labels.items()]
    if not labelled:
        labels = sorted({value for key in demand.labels for node in nodes if (value := node.labels.get(key))})
        return f"no node has that label (there are: {', '.join(labels) or 'none'})"
    if not any(demand.suits(node) for node in labelled):
        most = {name: max(node.resources.get(name, 0.0) for node in labelled) for name in demand.bundle}
        return f"no such node has so much: the most is {resources_text(most, zero=True)}"
    return "the nodes that could hold it are full"


def resources_text(resources: Resources, *, zero: bool = False) -> str:
    """`1 CPU + 0.5 GPU`."""
    shown = [f"{amount:g} {name}" for name, amount in resources.items() if amount or zero]
    return " + ".join(shown) or "nothing"
