"""This system beside others on the same work, by turns on an otherwise idle machine.

    .venv/bin/python -m benchmarks.peers [--policy actor|editor] [--updates N] [--out peers.json]

Both sides have the same small models, prompts and batch, and one turn. Updates of the Actor stand beside TRL's
`GRPOTrainer`, whose reward function edits and checks; those of the editor beside a plain PyTorch loop; drawing beside
one process that draws. A peer is one process with a thread for each core. TRL is installed on demand, with
pip, into a folder of its own. Seconds are medians; each side's first updates, in which it starts, do not count.
"""

from __future__ import annotations

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import typer

from benchmarks.peers.comparison import Tables, compare, complete, markdown
from benchmarks.peers.package import TRL, trl_folder
from presets.errors import BadInput, RunFailed
from presets.run_config import RunConfig
from presets.run_file import load_config

_SAME = ("rollout.turns=1", "rollout.drop_equal_groups=false", "evaluation.prompts=0", "checkpoint.every=0")
_PEERS = {"actor": f"TRL {TRL}", "editor": "plain loop"}
_WARM_UP = 2
_DRAWN = 12
_BUSY = 10.0


def main(
    policy: Annotated[Literal["actor", "editor"] | None, typer.Option(help="Only this policy.")] = None,
    updates: Annotated[int, typer.Option(min=1, help="Updates of each side that count.")] = 12,
    out: Annotated[Path, typer.Option(help="File that is written.")] = Path("peers.json"),
    cache: Annotated[Path, typer.Option(help="Where TRL is installed.")] = Path("~/.cache/rlrig/peers"),
    threads: Annotated[int | None, typer.Option(min=1, help="Of a peer. Default: one for each core.")] = None,
    preset: Annotated[Path, typer.Option(help="Run file.")] = Path("presets/tiny/run.yaml"),
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key.")] = None,
) -> None:
    """Measure, write what came out, and print it as a table."""
    threads = threads or os.cpu_count() or 1
    policies = [policy] if policy else list(_PEERS)
    tables: Tables = {}
    try:
        package = trl_folder(cache) if "actor" in policies else None
        busy = psutil.cpu_percent(interval=2.0)
        for name in policies:
            stages = f"stages=[{{stage: {name}, updates: {updates + _WARM_UP}}}]"
            tables |= _measure(name, load_config(preset, [*_SAME, *(changes or []), stages]), updates, package, threads)
    except (BadInput, RunFailed) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2 if isinstance(error, BadInput) else 1) from error
    values = {"cores": os.cpu_count(), "threads": threads, "busy_before": busy, "updates": updates, "trl": TRL}
    out.write_text(json.dumps({**values, "set": changes or [], "seconds": tables}, indent=2) + "\n", encoding="utf-8")
    for line in markdown(tables):
        typer.echo(line)
    if busy > _BUSY:
        typer.echo(f"measured under load: others used {busy:.0f} % of the cores before it began")


def _measure(name: str, config: RunConfig, updates: int, package: Path | None, threads: int) -> Tables:
    """The tables of one policy's updates and of drawing."""
    from benchmarks.peers.ours import Ours
    from benchmarks.peers.process import Peer
    from rollout.prompts import load_prompts

    texts = [load_prompts(config.data, config.seed).at(position).prompt for position in range(_DRAWN)]
    sides: list[Any] = []
    with ExitStack() as opened, tempfile.TemporaryDirectory() as folder:
        peer = Peer(name, config, updates + _WARM_UP, package, threads)
        opened.callback(peer.close)
        ours = Ours(config, Path(folder) / "run")
        opened.callback(ours.close)
        for number in range(updates + _WARM_UP):
            seeds = list(range(number * _DRAWN, (number + 1) * _DRAWN))
            drawn = (ours.draw(texts, seeds), peer.ask("draw", texts, seeds))
            sides.append((complete(ours.update()), complete(peer.ask("update")), *drawn))
            typer.echo(f"{name} {number + 1}/{updates + _WARM_UP}", err=True)
    mine, theirs, my_drawings, their_drawings = zip(*sides[_WARM_UP:], strict=True)
    return {
        f"{name}, beside {_PEERS[name]}": compare(mine, theirs),
        f"{_DRAWN} images, beside one process ({name} run)": compare(my_drawings, their_drawings),
    }


if __name__ == "__main__":
    typer.run(main)
