"""Whether nodes can hold what a run asks of Ray: an exact answer, from the resources and labels alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

Resources = Mapping[str, float]
_LIMIT_REACHED = 1  # scipy's status
_UNIT = 1e-4  # Ray counts resources in ten-thousandths
_LIMIT_S = 120.0  # the largest clusters take seconds; a busy machine may take long


@dataclass(frozen=True)
class Node:
    """A node, all of it: its resources by Ray's names (`CPU`, `GPU`, …), and its labels."""

    name: str
    resources: Resources
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Demand:
    """`count` groups of `bundles` equal bundles each. A bundle lies on one node that has all `labels`; the bundles of a
    group may lie on several, and a group is there as a whole or not at all."""

    role: str
    count: int
    bundle: Resources
    bundles: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)

    def suits(self, node: Node) -> bool:
        """Whether the node, when it is empty, can hold a bundle."""
        return all(node.labels.get(key) == value for key, value in self.labels.items()) and all(
            _units(amount) <= _units(node.resources.get(name, 0.0)) for name, amount in self.bundle.items()
        )


@dataclass(frozen=True)
class Packing:
    """`placed[i]` groups of demand i have a place, and `bundles[i][j]` of its bundles lie on node j."""

    demands: Sequence[Demand]
    placed: tuple[int, ...]
    bundles: tuple[tuple[int, ...], ...]

    @property
    def missing(self) -> dict[str, int]:
        """Groups without a place, by role; empty where everything fits."""
        pairs = zip(self.demands, self.placed, strict=True)
        return {demand.role: demand.count - placed for demand, placed in pairs if placed < demand.count}


def pack(demands: Sequence[Demand], nodes: Sequence[Node]) -> Packing:
    """Place as many groups as the nodes can hold together, when nothing else runs on them.

    It is an integer program (vector bin packing with labels): x[i, j] bundles of demand i lie on node j, of which
    y[i] ≤ count groups are whole, Σ_j x[i, j] = y[i]·bundles, no resource of a node is exceeded, and Σ y is greatest.

    Raises:
        TimeoutError: whether everything fits was not known within two minutes.
    """
    rows, columns = len(demands), len(nodes)
    if not rows or not columns:
        return Packing(demands, (0,) * rows, ((0,) * columns,) * rows)
    limits = np.array([[_most(demand, node) for node in nodes] for demand in demands], dtype=float)
    counts = np.array([demand.count for demand in demands], dtype=float)
    whole = np.hstack(
        [np.kron(np.eye(rows), np.ones(columns)), -np.diag([float(demand.bundles) for demand in demands])]
    )
    constraints = [LinearConstraint(whole, 0.0, 0.0)]
    for name in sorted({name for demand in demands for name, amount in demand.bundle.items() if amount}):
        needs = [_units(demand.bundle.get(name, 0.0)) * _UNIT for demand in demands]
        used = np.hstack([np.kron(needs, np.eye(columns)), np.zeros((columns, rows))])
        constraints.append(LinearConstraint(used, -np.inf, [_room(node, name) for node in nodes]))
    found = milp(
        np.concatenate([np.zeros(rows * columns), -np.ones(rows)]),
        integrality=np.ones(rows * columns + rows),
        bounds=Bounds(0.0, np.concatenate([limits.ravel(), counts])),
        constraints=constraints,
        options={"time_limit": _LIMIT_S},
    )
    if found.x is None or (found.status == _LIMIT_REACHED and -found.fun < counts.sum() - 0.5):
        raise TimeoutError(
            f"whether {rows} roles fit on {columns} nodes was not known within {_LIMIT_S:g} s; is this machine busy?"
        )
    values = np.rint(found.x).astype(int)
    placed = values[: rows * columns].reshape(rows, columns)
    return Packing(demands, tuple(values[rows * columns :].tolist()), tuple(map(tuple, placed.tolist())))


def impossible(demands: Sequence[Demand], nodes: Sequence[Node]) -> list[Demand]:
    """Demands of which not one bundle fits on any of these nodes, even on an empty one."""
    return [demand for demand in demands if demand.count and not any(demand.suits(node) for node in nodes)]


def _most(demand: Demand, node: Node) -> int:
    """Bundles of the demand that the node holds when it is empty, at most."""
    if not demand.suits(node):
        return 0
    sizes = [(_units(node.resources.get(name, 0.0)), _units(amount)) for name, amount in demand.bundle.items()]
    return min([demand.count * demand.bundles, *(has // needs for has, needs in sizes if needs)])


def _units(amount: float) -> int:
    return round(amount / _UNIT)


def _room(node: Node, name: str) -> float:
    return _units(node.resources.get(name, 0.0)) * _UNIT + _UNIT / 10  # the solver's own tolerance is far below this
