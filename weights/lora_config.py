"""Which layers a LoRA adapter changes, and how much. Imports neither torch nor Ray."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from scenes.section import Section


class LoraConfig(Section):
    """Low-rank adapters (LoRA, arXiv 2106.09685): a linear layer computes W·x + alpha/rank·B·A·x, and A and B train."""

    rank: int = Field(64, ge=1)
    """Rows of A and columns of B."""
    alpha: float = Field(128.0, gt=0)
    """Strength: B·A is multiplied by alpha / rank."""
    target_modules: Annotated[tuple[str, ...], Field(strict=False)] | str = Field(min_length=1)
    """Linear layers that get an adapter: a list of names, each of which stands for every module whose path ends with
    it, or one regular expression for whole paths."""

    @field_validator("target_modules")
    @classmethod
    def _is_a_pattern(cls, target_modules: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if isinstance(target_modules, str):
            try:
                re.compile(target_modules)
            except re.error as error:
                raise ValueError(f"{target_modules!r} is no regular expression: {error}") from error
        elif "" in target_modules:
            raise ValueError(f"{target_modules} has an empty name; it would stand for every module")
        return target_modules
