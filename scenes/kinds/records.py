"""Other requirements than relations in records: `{"kind": "count", "item": "red apple", "number": 2}`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from scenes.kinds.kinds import MOST_COUNTED, Attribute, Count, FreeQuestion, Other, Presence
from scenes.plain_text import plain_text


def _seen(text: str) -> str:
    if not (seen := plain_text(text)):
        raise PydanticCustomError("invisible", "nothing of it can be seen")
    return seen


Text = Annotated[str, Field(min_length=1, pattern=r"\S"), AfterValidator(_seen)]
"""Words of which something can be seen, as `plain_text` makes them."""


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class PresenceRecord(_Form):
    """An item that should be there."""

    kind: Literal["presence"]
    item: Text

    def requirement(self) -> Other:
        """The requirement."""
        return Presence(self.item)


class CountRecord(_Form):
    """How often an item should be there."""

    kind: Literal["count"]
    item: Text
    number: Annotated[int, Field(ge=1, le=MOST_COUNTED)]

    def requirement(self) -> Other:
        """The requirement."""
        return Count(self.item, self.number)


class AttributeRecord(_Form):
    """What an item should be like."""

    kind: Literal["attribute"]
    item: Text
    attribute: Text

    def requirement(self) -> Other:
        """The requirement."""
        return Attribute(self.item, self.attribute)


class QuestionRecord(_Form):
    """A question to be answered with yes."""

    kind: Literal["question"]
    question: Text

    def requirement(self) -> Other:
        """The requirement."""
        return FreeQuestion(self.question)


OtherRecord = Annotated[PresenceRecord | CountRecord | AttributeRecord | QuestionRecord, Field(discriminator="kind")]


def record_of(requirement: Other) -> dict[str, Any]:
    """A requirement as JSON has it."""
    return {"kind": requirement.kind, **asdict(requirement)}
