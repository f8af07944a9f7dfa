"""The configuration of a run: what `presets/tiny/run.yaml` may say. Imports no engine, so a mistake shows at once."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticUndefinedType

from presets.checks import contradictions, impossible_combinations, shares_vlm
from presets.images import EditorConfig
from presets.placement import parts_of_gpus
from presets.settings import HUB_PREFIX, RunSettings
from presets.sharing.colocated import RANK_IS_WORKER
from presets.sharing.pipeline import CALLED_ALIKE
from scenes.dialogues.dialogue import Dialogue, load_dialogue
from scenes.vocabulary.vocabulary import Vocabulary, vocabulary_of
from serving.config import VlmConfig
from serving.prompt_limits import PromptLimits

DERIVED = {  # settings of the engines that the run file says once, elsewhere
    "vlm.actor.model": "models.actor",
    "vlm.checker.model": "models.checker",
    "vlm.actor.max_tokens": "rollout.max_answer_tokens",
    "vlm.actor.transport": "sync.actor",
    "learner.actor.temperature": "rollout.sampling_temperature",
}


class RunConfig(RunSettings):
    """Everything that a run is told.

    Raises:
        pydantic.ValidationError: an unknown key, a wrong type or an impossible combination.
    """

    @property
    def dialogue(self) -> Dialogue:
        """The words between the loop and its VLMs.

        Raises:
            EntryPointError: `rollout.dialogue` names code that cannot be used.
        """
        return load_dialogue(self.rollout.dialogue, self.rollout.dialogue_texts, self.rollout.tell_unmet)

    @property
    def actor_vlm(self) -> VlmConfig:
        """`vlm.actor`, with the system prompt of the dialogue where it names none, and room for the learner's adapter.

        Raises:
            EntryPointError: see `dialogue`.
        """
        system = self.vlm.actor.system_prompt or self.dialogue.system
        lora = self.learner.actor.lora if self.vlm.actor.adapter == "beside" else None
        rank = None if lora is None else lora.rank
        given = {"system_prompt": system, "adapter_rank": rank, "answer_form": self.rollout.answer_form}
        return self.vlm.actor.model_copy(update=given)

    @property
    def vlms(self) -> dict[str, VlmConfig]:
        """The VLMs that are deployed, by role; without the Checker where the Actor's replicas are it, too. Raises as
        `actor_vlm`."""
        if not shares_vlm(self):
            return {"actor": self.actor_vlm, "checker": self.vlm.checker}
        return {"actor": self.actor_vlm.model_copy(update={"base_system_prompt": self.vlm.checker.system_prompt})}

    @property
    def prompt_limits(self) -> PromptLimits:
        """Which prompts the models can take. Raises as `actor_vlm`."""
        actor = self.actor_vlm
        return PromptLimits(
            self.models.flux,
            actor.model,
            actor.max_model_len,
            self.diffuser.max_prompt_tokens,
            self.dialogue,
            actor.system_prompt,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """What `generate`, `serve` and Studio can be asked for."""
        return vocabulary_of(self.data.source, self.rollout.dialogue)

    @model_validator(mode="before")
    @classmethod
    def _say_once(cls, values: Any) -> Any:
        return derive(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _refuse_the_impossible(self) -> RunConfig:
        problems = contradictions(self, DERIVED) + impossible_combinations(self)
        if problems:
            raise ValueError("\n".join(problems))
        if self.vlm.share is None:  # said once and for all: later nobody knows which keys of vlm.checker were written
            object.__setattr__(self, "vlm", self.vlm.model_copy(update={"share": shares_vlm(self)}))
        return self


def derive(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of a raw configuration in which each key of `DERIVED` that is not set has the value of its source, and
    each role of `placement.share` its part of a GPU; with `diffuser.share`, the Diffuser is called as the editor is;
    with `editor.colocated`, a rank is a worker."""
    values = deepcopy(values)
    for key, part in parts_of_gpus(_value_at(values, "placement.share")).items():
        _set_default(values, key, part)
    if _value_at(values, "diffuser.share") is True:
        for name in CALLED_ALIKE:
            if (value := _value_at(values, f"editor.{name}")) is not None:
                _set_default(values, f"diffuser.{name}", value)
    if _value_at(values, "editor.colocated") is True:
        for name, source in RANK_IS_WORKER.items():
            value = _value_at(values, f"editor.{source}")
            default = EditorConfig.model_fields[source].get_default()
            _set_default(values, f"learner.editor.{name}", default if value is None else value)
    for key, source in DERIVED.items():
        section, name = source.split(".")
        kind = RunConfig.model_fields[section].annotation
        assert isinstance(kind, type), f"{section} is a section of the run file"
        assert issubclass(kind, BaseModel)
        field = kind.model_fields[name]
        given = values.get(section, {})
        value = given.get(name, field.get_default()) if isinstance(given, dict) else field.get_default()
        if isinstance(value, PydanticUndefinedType):
            continue
        _set_default(values, key, value.removeprefix(HUB_PREFIX) if isinstance(value, str) else value)
    return values


def _value_at(values: dict[str, Any], key: str) -> Any:
    """What a raw configuration says, None where it says nothing."""
    place: Any = values
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


def _set_default(values: dict[str, Any], key: str, value: Any) -> None:
    """Give a key a value where it has none; nothing where something else than a section is above it."""
    place: Any = values
    *outer, last = key.split(".")
    for part in outer:
        if not isinstance(place, dict):
            return
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
    if isinstance(place, dict):
        place.setdefault(last, value)
