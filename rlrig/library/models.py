"""Models that draw and correct one scene after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from presets.choice.chosen_config import models_of
from presets.choice.fit import why_on_ray
from presets.choice.own_prompts import read_prompt
from presets.choice.trained_models import Models as Which
from presets.choice.trained_models import trained_models
from presets.errors import BadInput
from presets.places import TINY
from reports.episodes.drawing import Drawing
from rlrig.checks.dry_run import check_before_start
from rlrig.checks.preflight import check_models
from rlrig.local.players import players
from rollout.progress import Progress
from rollout.seeds import derive_seed

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.episode import Players
    from scenes.scene_graph import SceneGraph


class Models:
    """The four models of an episode, one worker of each kind, which is all that one image after the other keeps busy.
    Small models are in this process. Others run on Ray and vLLM, until `close` or the end of a `with` block.

    Args:
        progress: hears what is loaded, and of each image and answer as soon as it is there.

    Raises:
        BadInput: what these models read is damaged or missing; before anything starts.
    """

    def __init__(self, config: RunConfig, progress: Progress, on_ray: bool = False) -> None:
        one = {"workers": 1, "max_workers": None}
        parts = {part: getattr(config, part).model_copy(update=one) for part in ("diffuser", "editor")}
        self.config, self._progress = config.model_copy(update=parts), progress
        check_models(self.config)
        check_before_start(self.config, prompts=False)
        self._on_ray = why_on_ray(config) or ("--ray" if on_ray else None)
        self._stack = ExitStack()
        self._players: Players | None = None

    def open(self) -> Self:
        """Load or start them. Raises as `rlrig.local.players`."""
        if self._on_ray:
            self._progress.note(f"models on Ray and vLLM: {self._on_ray}")
        self._players = self._stack.enter_context(players(self.config, self._on_ray is not None, self._progress))
        return self

    def generate(self, prompt: str, seed: int = 0) -> Drawing:
        """Draw a prompt, such as `red circle left of blue square`, and correct it turn by turn.

        Raises:
            BadInput: the prompt cannot be read, the models do not know it, or they are closed.
        """
        graph = read_prompt(self.config, prompt)
        self.check(graph)
        return self.draw(graph, seed)

    def check(self, graph: SceneGraph) -> None:
        """Raises BadInput where the models cannot take this scene graph."""
        if problem := self.config.prompt_limits.refusal(graph):
            raise BadInput(f"prompt: {problem}")

    def draw(self, graph: SceneGraph, seed: int) -> Drawing:
        """As `generate`, of a scene graph that was checked."""
        from reports.episode_words import told
        from rollout.course import course
        from rollout.episode import draw_states, drive
        from rollout.state import Episode

        if self._players is None:
            raise BadInput("models: they are closed; load them again")
        base, episode = derive_seed(seed, "generate"), Episode(graph)
        drawn, rollout = [derive_seed(base, "draw", graph.img_id)], self.config.rollout
        (state,) = draw_states(self._players, [graph], drawn, rollout.drawings)
        steps = course(state, base, rollout.turns, episode)
        drive(self._players, [told(steps, episode, self._progress.note)])
        return Drawing(episode)

    def close(self) -> None:
        """End what runs on Ray, and let go of the models."""
        self._players = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    source: str | Path = TINY,
    overrides: Sequence[str] = (),
    *,
    models: Which | None = None,
    on_ray: bool = False,
    progress: Progress | None = None,
) -> Models:
    """The models that a run has trained, or those of a run file.

    Args:
        source: folder of a run, or a run file. Without it, the small trained models that come with the code.
        overrides: `key=value`, as after `--set`.
        models: `trained` or `raw`, those that training starts from; None: trained ones, where there are some.
        on_ray: run them on Ray and vLLM, also where they would fit into this process.
        progress: is told what happens; None: nobody is.

    Raises:
        BadInput: what was given cannot be used.
        ModelLoadError, VlmError: a model cannot be loaded.
    """
    place = Path(source)
    config, run, _ = models_of(place if place.is_dir() else None, place, list(overrides), models, data=False)
    return Models(trained_models(config, run), progress or Progress(), on_ray).open()
