"""Which tokenizer says what the tokens of a run's answers read: the one that lies beside the Actor's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from presets.places import PRESETS
from reports.reading.text_file import lies_in

if TYPE_CHECKING:
    from reports.run_record import RunRecord


def tokenizer_of(record: RunRecord, anywhere: bool = False) -> Path | None:
    """The `tokenizer.json` of the run's trained Actor, else that of the model which it starts from; None without one.

    Args:
        anywhere: take it wherever the run's configuration says; otherwise only from the presets that come with this
            code, as a service may not read what a file in a run's folder points to.
    """
    trained = record.folder / "models" / "actor" / "tokenizer.json"
    if lies_in(trained, record.folder):
        return trained
    models = record.config.get("models")
    start = models.get("actor") if isinstance(models, dict) else None
    if not isinstance(start, str) or "\0" in start or len(start) > 4000:
        return None
    try:
        given = (Path(start) / "tokenizer.json").resolve()
        return given if given.is_file() and (anywhere or given.is_relative_to(PRESETS)) else None
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return None
