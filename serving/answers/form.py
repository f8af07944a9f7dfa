"""The form that the Actor's answers must have: the engine then samples nothing else. Imports no engine."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, model_validator

from scenes.section import Section


class AnswerForm(Section):
    """A regular expression or a JSON schema, as vLLM's structured outputs take them. The parser of the dialogue must be
    able to read what has this form."""

    regex: str | None = Field(None, min_length=1)
    """A regular expression that the whole answer matches, such as `Reflection: [^\\n]{1,200}\\nEdit: [^\\n]{1,200}`."""
    json_schema: dict[str, Any] | None = None
    """A JSON schema of the answer."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> AnswerForm:
        if (self.regex is None) == (self.json_schema is None):
            raise ValueError("give either regex or json_schema")
        return self

    @property
    def schema_text(self) -> str:
        """The JSON schema as text."""
        return json.dumps(self.json_schema)
