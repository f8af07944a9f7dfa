"""Which weights the rows were made with: rows of other weights are never mixed in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from experiments.frontier.systems import IMITATING, RAW, TRAINED
from presets.errors import BadInput
from presets.run_file import load_config
from scenes.whole_file import whole_file


def weights_digest(*folders: Path) -> str:
    """Of the names and contents of all safetensors in these folders."""
    total = hashlib.sha256()
    for number, folder in enumerate(folders):
        for path in sorted(folder.rglob("*.safetensors")):
            total.update(f"{number} {path.relative_to(folder)}".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:32]


def sources_of(preset: Path, trained: Path | None, imitating: Path | None) -> dict[str, str]:
    """Digests of the weights of a measurement, by what systems call them."""
    models = load_config(preset, []).models
    raw = (models.flux, models.edits_with, models.actor, models.checker)
    found = {RAW: weights_digest(*map(Path, raw))}
    if trained is not None:  # of a pipeline only the transformer is trained
        found[TRAINED] = weights_digest(trained / "models" / "actor", trained / "models" / "editor" / "transformer")
    if imitating is not None:
        found[IMITATING] = weights_digest(imitating / "models" / "actor")
    return found


def read_sources(path: Path) -> dict[str, str]:
    """What was written down; nothing where there is no file."""
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def note_sources(path: Path, sources: Mapping[str, str]) -> None:
    """Write down the weights that are about to be measured.

    Raises:
        BadInput: rows were made with other ones.
    """
    known = read_sources(path)
    for name, digest in sources.items():
        if known.get(name, digest) != digest:
            raise BadInput(
                f"{path}: rows were made with other {name} weights ({known[name]}) than those given now ({digest}); "
                "give the same ones, or another folder with --rows"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(json.dumps({**known, **sources}, indent=1) + "\n", encoding="utf-8")
