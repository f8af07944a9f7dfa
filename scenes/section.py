"""What all settings are: their keys are all known, typed strictly, finite, and never change."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from scenes.entry_point import is_entry_point

# YAML has no tuples, so a list is taken for one; everything else must already have the right type.
Pair = Annotated[tuple[int, int], Field(strict=False)]


class Section(BaseModel):
    """The base of every model that a run file or `rlrig serve` reaches."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def value_of(self, key: str) -> Any:
        """What a key says, such as `vlm.actor.gpus`.

        Raises:
            AttributeError: there is no such key.
        """
        return reduce(getattr, key.split("."), self)


@dataclass(frozen=True)
class OrOwn:
    """Marks a text that is one of `names`, or the `module:name` of code that the user brings."""

    names: tuple[str, ...] = ()

    def check(self, value: str) -> str:
        """The value itself; it is not imported.

        Raises:
            ValueError: it is neither.
        """
        if value in self.names or is_entry_point(value):
            return value
        close = difflib.get_close_matches(value, self.names, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        allowed = " or ".join([*([", ".join(self.names)] if self.names else []), "module:name of your own code"])
        raise ValueError(f"{value!r} is refused: must be {allowed}{hint}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))
