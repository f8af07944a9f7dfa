"""Measures traces: of every setting for the choice, then of the chosen settings on fresh prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.frontier.playing import Cast, Playing
from experiments.frontier.prompts import BATCH, SETS, graphs_of
from experiments.frontier.rows import Rows
from experiments.frontier.stand_ins import OracleActor, TemplateActor
from experiments.frontier.systems import IMITATING, ORACLE, RAW, TEMPLATE, TRAINED, Setting, System
from presets.errors import BadInput
from presets.places import TINY

if TYPE_CHECKING:
    from actors.inverse_diffuser import InverseDiffuser
    from rollout.episode import Reflector

Wanted = Mapping[str, Iterable[tuple[System, Setting]]]
"""Settings to measure, by set of prompts."""


def load_cast(preset: Path, trained: Path | None, imitating: Path | None) -> Cast:
    """All models, in this process, on one core.

    Args:
        trained: folder of a run with `models/actor` and `models/editor`.
        imitating: folder with `models/actor`, as `rlrig sft-actor` leaves it.

    Raises:
        BadInput: the models do not belong in this process, or a folder lacks what it is named for.
    """
    from presets.choice.fit import why_on_ray
    from presets.choice.trained_models import trained_models
    from presets.run_file import load_config
    from rlrig.local.models import load_models
    from rollout.progress import Progress

    config = load_config(preset, [])
    if reason := why_on_ray(config):
        raise BadInput(f"{preset}: the frontier is measured in one process, for which {reason}; use {TINY}")
    raw = load_models(config, Progress())
    actors: dict[str, Reflector] = {RAW: raw.actor, TEMPLATE: TemplateActor(), ORACLE: OracleActor()}
    editors: dict[str, InverseDiffuser] = {RAW: raw.editor}
    if trained is not None:
        for policy in ("actor", "editor"):
            if not (trained / "models" / policy).is_dir():
                raise BadInput(f"--run {trained}: holds no models/{policy}; name a run that has trained both")
        models = load_models(trained_models(config, trained), Progress())
        actors[TRAINED], editors[TRAINED] = models.actor, models.editor
    if imitating is not None:
        actors[IMITATING] = load_models(trained_models(config, imitating), Progress()).actor
    return Cast(raw.diffuser, raw.checker, actors, editors)


def playable(system: System, cast: Cast) -> bool:
    """Whether the models of a system are there."""
    return (system.actor is None or system.actor in cast.actors) and (
        system.editor is None or system.editor in cast.editors
    )


@dataclass(frozen=True)
class Measuring:
    """Plays with `cast` what `rows` lacks, a chunk of prompts of each set after the other, so that what is there when
    it is stopped is of all sets."""

    cast: Cast
    rows: Rows
    say: Callable[[str], None]

    def measure(self, phase: str, count: int, wanted: Wanted) -> None:
        """Traces of the first `count` prompts of each set, for these settings; systems without models are left out."""
        graphs = {prompts: graphs_of(phase, prompts, count) for prompts in SETS}
        for first in range(0, count, BATCH):
            for prompts, whole in graphs.items():
                some = whole[first : first + BATCH]
                pairs = [(system, setting) for system, setting in wanted[prompts] if playable(system, self.cast)]
                self._chunk(Playing(self.cast, self.rows, phase, prompts, some), pairs)
                self.say(f"{phase}, {prompts}: prompts {first + 1} to {first + len(some)} of {count}")

    def _chunk(self, playing: Playing, pairs: Sequence[tuple[System, Setting]]) -> None:
        drawings: dict[int, int] = {}
        turns: dict[tuple[str, str, int, int, int], int] = {}
        for system, one in pairs:
            drawings[one.draw_steps] = max(drawings.get(one.draw_steps, 0), one.drawings)
            if system.actor is not None and system.editor is not None and one.turns:
                loop = (system.actor, system.editor, one.drawings, one.draw_steps, one.edit_steps)
                turns[loop] = max(turns.get(loop, 0), one.turns)
        for steps, most in drawings.items():
            playing.draw(steps, most)
        for (actor, editor, count, steps, edit_steps), most in turns.items():
            playing.loop(Setting(count, steps, most, edit_steps), actor, editor)
