"""What the tokens of an answer read, by the tokenizer that lies beside the Actor's weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from rollout.reporting.run_record import RunRecord

_PRESETS = Path(__file__).resolve().parents[2] / "presets"


def tokenizer_of(record: RunRecord, anywhere: bool = False) -> Path | None:
    """The `tokenizer.json` of the run's trained Actor, else that of the model which it starts from; None without one.

    Args:
        anywhere: take it wherever the run's configuration says; otherwise only from the presets that come with this
            code, as a service may not read what a file in a run's folder points to.
    """
    trained = record.folder / "models" / "actor" / "tokenizer.json"
    if trained.is_file() and trained.resolve().is_relative_to(record.folder.resolve()):
        return trained
    models = record.config.get("models")
    start = models.get("actor") if isinstance(models, dict) else None
    if not isinstance(start, str) or "\0" in start:
        return None
    given = (Path(start) / "tokenizer.json").resolve()
    return given if given.is_file() and (anywhere or given.is_relative_to(_PRESETS)) else None


def token_texts(tokenizer: Path, token_ids: Sequence[int]) -> list[str]:
    """The text of each token, of a special one its name; empty where the tokenizer does not know it.

    Raises:
        ValueError: the file holds no tokenizer; the message tells no path.
    """
    loaded = _load(tokenizer, tokenizer.stat().st_mtime_ns)
    texts = []
    for token in token_ids:
        name = loaded.id_to_token(token) if 0 <= token < 2**32 else None
        texts.append("" if name is None else loaded.decode([token], skip_special_tokens=False) or name)
    return texts


@lru_cache(maxsize=4)
def _load(path: Path, written: int) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError("tokenizer.json: it holds no tokenizer") from error
