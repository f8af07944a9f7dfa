"""Which models of the hub each node of a cluster needs, and how far the nodes are that fetch them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from presets.planning.packing import Node
from presets.planning.plan import make_plan
from presets.settings import HUB_PREFIX

if TYPE_CHECKING:
    from presets.run_config import RunConfig

_GIB = 2**30


@dataclass(frozen=True)
class Share:
    """How far one node is.

    Attributes:
        held: bytes of its models that are there.
        nbytes: of all its models; None while the hub has not said it.
        ready: everything is there.
    """

    held: int = 0
    nbytes: int | None = None
    ready: bool = False


def models_by_node(config: RunConfig, nodes: Sequence[Node]) -> dict[str, dict[str, str]]:
    """For each node that a role may be on: the hub's models that its roles read, each with the key that names it.

    Where a role will be is Ray's to say, so that every node counts whose resources and labels can hold a process of it.
    Nodes that need none are left out, and nothing is asked of the hub.
    """
    needs: dict[str, dict[str, str]] = {}
    for role in make_plan(config, memory=False).roles:
        read = [(key, value) for key, value in _read_by(config, role.keys) if value.startswith(HUB_PREFIX)]
        for node in nodes:
            if read and role.demand.suits(node):
                for key, value in read:
                    needs.setdefault(node.name, {}).setdefault(value.removeprefix(HUB_PREFIX), key)
    return needs


def progress_text(shares: Iterable[Share]) -> str:
    """`fetch: 2 of 3 nodes, 14.2 of 37.1 GiB`."""
    found = list(shares)
    ready = sum(one.ready for one in found)
    held = sum(one.held for one in found) / _GIB
    known = [one.nbytes for one in found if one.nbytes is not None]
    whole = f"{sum(known) / _GIB:.1f}{'' if len(known) == len(found) else ' or more'}"
    return f"fetch: {ready} of {len(found)} nodes, {held:.1f} of {whole} GiB"


def _read_by(config: RunConfig, keys: Sequence[str]) -> list[tuple[str, str]]:
    """The models that a role reads, which has these keys in the run file."""
    models = config.models
    edits = ("models.flux" if models.editor is None else "models.editor", models.edits_with)
    by_section = {
        "diffuser": ("models.flux", models.flux),
        "editor": edits,
        "vlm.actor": ("models.actor", models.actor),
        "vlm.checker": ("models.checker", models.checker),
        "learner.actor": ("models.actor", models.actor),
        "learner.editor": edits,
    }
    sections = {key.rpartition(".")[0] for key in keys}
    return [by_section[section] for section in sorted(sections & by_section.keys())]
