"""A form of words between the loop and its VLMs."""

from __future__ import annotations

from typing import Protocol

from scenes import dialogue as shapes
from scenes.dialogue import Reflection
from scenes.dialogues.general import General
from scenes.dialogues.texts import Texts
from scenes.entry_point import EntryPointError, load_entry_point
from scenes.scene_graph import AnyRequirement


class Dialogue(Protocol):
    """Texts of one form. An object of it can be sent to any process."""

    @property
    def system(self) -> str | None:
        """The Actor's system prompt; None leaves it out."""

    def request(self, requirements: tuple[AnyRequirement, ...], unmet: tuple[AnyRequirement, ...]) -> str:
        """What the Actor is asked about an image: all requirements, and which of them the Checker found unmet."""

    def question(self, requirement: AnyRequirement) -> str:
        """What the Checker is asked, to be answered with yes or no."""

    def read(self, answer: str) -> Reflection:
        """What the Actor's answer says.

        Raises:
            UnparsableAnswer: it has no such form; the message says what is missing.
        """


class Shapes:
    """The small models' own language, see `scenes.dialogue`.

    Args:
        tell_unmet: whether requests list what is unmet.
    """

    system = None

    def __init__(self, tell_unmet: bool = True) -> None:
        self._tells = tell_unmet

    def request(self, requirements: tuple[AnyRequirement, ...], unmet: tuple[AnyRequirement, ...]) -> str:
        return shapes.actor_request(requirements, unmet if self._tells else None)

    def question(self, requirement: AnyRequirement) -> str:
        return shapes.checker_question(requirement)

    def read(self, answer: str) -> Reflection:
        return shapes.parse_answer(answer)


SHAPES: Dialogue = Shapes()
_PARTS = ("request", "question", "read")


def load_dialogue(name: str, texts: Texts | None = None, tell_unmet: bool = True) -> Dialogue:
    """The dialogue that `rollout.dialogue` names: `shapes`, `general`, or the class at `module:name`, which is made
    without arguments.

    Args:
        texts: words of the general one, in the place of its own.
        tell_unmet: whether requests list what is unmet; code of the user's own says that itself.

    Raises:
        EntryPointError: there is no such code, or what it makes is no dialogue.
    """
    if name == "shapes":
        return SHAPES if tell_unmet else Shapes(tell_unmet=False)
    if name == "general":
        return General(texts, tell_unmet)
    made: Dialogue = load_entry_point("rollout.dialogue", name)()
    missing = [part for part in _PARTS if not callable(getattr(made, part, None))]
    if missing or not hasattr(made, "system"):
        raise EntryPointError(
            f"rollout.dialogue: {name!r} is refused: it has no {', '.join(missing) or 'system'}; see "
            "scenes.dialogues.dialogue.Dialogue"
        )
    return made
