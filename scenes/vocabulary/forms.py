"""Requirements as the bodies of requests and answers have them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from scenes.kinds.kinds import Kind
from scenes.scene_graph import AnyRequirement, Requirement

Words = Annotated[str, Field(min_length=1, max_length=200)]
PARTS, TEXT = "(parts)", "(text)"
"""Tags of the two forms, in the places of pydantic's errors."""


class WantedRequirement(BaseModel):
    """One requirement of a request, in its parts."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    subject: Words
    """An item, as `red fox`."""
    relation: Words
    """How it should relate to the other, as `on top of`; one of the model's `relations` where it names some."""
    object: Words
    """The other item, as `wooden table`."""

    @property
    def part(self) -> tuple[str, str, str]:
        """What a `Vocabulary` takes."""
        return (self.subject, self.relation, self.object)


class WantedText(BaseModel):
    """One requirement of a request, of any kind, in words."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    text: Words
    """As a prompt says it: `a red fox`, `two cats`, `the table is wooden`, `? Is the fox asleep?`."""

    @property
    def part(self) -> str:
        """What a `Vocabulary` takes."""
        return self.text


def _form(value: Any) -> str:
    given = isinstance(value, WantedText) or (isinstance(value, dict) and "text" in value)
    return TEXT if given else PARTS


Wanted = Annotated[Annotated[WantedRequirement, Tag(PARTS)] | Annotated[WantedText, Tag(TEXT)], Discriminator(_form)]
"""One requirement of a request."""


class RequirementText(BaseModel):
    """One requirement of a prompt."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Kind
    """What kind of requirement it is."""
    text: str
    """It in words."""
    subject: str | None = None
    """Of a relation: the item that is spoken of."""
    predicate: str | None = None
    """Of a relation: how it relates to the other one."""
    object: str | None = None
    """Of a relation: the other item."""

    @classmethod
    def of(cls, requirement: AnyRequirement) -> RequirementText:
        """This form of a requirement."""
        parts = asdict(requirement) if isinstance(requirement, Requirement) else {}
        return cls(kind=requirement.kind, text=requirement.text, **parts)
