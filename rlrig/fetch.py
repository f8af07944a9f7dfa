"""`rlrig fetch`: bring the hub's models of a run file to this machine, and of each just the files that are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from presets.hub.repository import brought, hub_models, missing_bytes, refuse_without_room, wanted
from presets.places import TINY, preset_at
from presets.run_file import load_config
from rlrig.command import Json, Preset, Set, exit_codes, settings
from scenes.harmless_text import harmless


def fetch(
    preset: Preset = TINY,
    set_: Set = None,
    to: Annotated[Path | None, typer.Option(help="Folder for the models; default the hub's cache (HF_HOME).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and fetch nothing.")] = False,
    json_: Json = False,
) -> None:
    """Bring the hub's models of a run file here. What is here already stays; a fetch that was cut off goes on."""
    with exit_codes(json_) as out:
        config = load_config(preset_at(preset), settings(set_))
        named = dict(hub_models(config.model_dump(mode="json")))
        found = [wanted(key, name) for key, name in named.items()]
        for one in found:
            if not json_:
                print(harmless(str(one)))
        folders: dict[str, str] = {}
        if not dry_run:
            refuse_without_room(sum(missing_bytes(one, to) for one in found), to)
            folders = {one.key: str(brought(one, to)) for one in found}
        if json_:
            models = [{**one.as_dict(), "folder": folders.get(one.key)} for one in found]
            print(json.dumps({"event": "result", "models": models}), file=out, flush=True)
            return
        if not found:
            print("no model of this run file is on the hub")
        for key, folder in folders.items():
            print(f"--set {key}={folder}" if to is not None else f"{key}: {folder}")
