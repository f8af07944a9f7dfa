"""What all sections of a run file are: their keys are all known, typed strictly, and never change."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# YAML has no tuples, so a list is taken for one; everything else must already have the right type.
Pair = Annotated[tuple[int, int], Field(strict=False)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
