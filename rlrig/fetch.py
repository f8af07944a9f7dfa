"""`rlrig fetch`: bring the hub's models of a run file to this machine, and of each just the files that are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from presets.errors import BadInput, RunFailed
from presets.memory.hub import INDEX, WEIGHTS, files_read, parts_of_index
from presets.places import TINY, preset_at
from presets.run_file import load_config
from presets.settings import HUB_PREFIX
from rlrig.command import Json, Preset, Set, exit_codes, settings
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_INFO_S = 30.0
_GB = 1e9


@dataclass(frozen=True)
class Wanted:
    """What is read of one model on the hub: its files and their bytes, by name, and what its card says.

    Attributes:
        key: the key of the run file that names it.
        gate: empty, or how its owner lets people in.
    """

    key: str
    name: str
    revision: str
    files: dict[str, int]
    license: str
    gate: str

    @property
    def nbytes(self) -> int:
        """Of all its files."""
        return sum(self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        said = {"key": self.key, "model": self.name, "license": self.license, "gated": self.gate}
        return {**said, "bytes": self.nbytes, "files": len(self.files)}

    def __str__(self) -> str:
        gate = f"; gated ({self.gate}): accept its terms at the hub, and set HF_TOKEN" if self.gate else ""
        return f"{self.name}: {self.nbytes / _GB:.2f} GB in {len(self.files)} files, license {self.license}{gate}"


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
        found = [_wanted(key, name) for key, name in named.items()]
        for one in found:
            if not json_:
                print(harmless(str(one)))
        folders: dict[str, str] = {}
        if not dry_run:
            _refuse_without_room(found, to)
            folders = {one.key: str(_brought(one, to)) for one in found}
        if json_:
            models = [{**one.as_dict(), "folder": folders.get(one.key)} for one in found]
            print(json.dumps({"event": "result", "models": models}), file=out, flush=True)
            return
        if not found:
            print("no model of this run file is on the hub")
        for key, folder in folders.items():
            print(f"--set {key}={folder}" if to is not None else f"{key}: {folder}")


def hub_models(values: Any) -> Iterator[tuple[str, str]]:
    """The keys of a run file that name a model on the hub, and its name; each model once."""
    seen: set[str] = set()

    def walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{key}.{name}" if key else str(name))
        elif isinstance(value, str) and value.startswith(HUB_PREFIX) and value not in seen:
            seen.add(value)
            yield key, value.removeprefix(HUB_PREFIX)

    yield from walk(values, "")


def _wanted(key: str, name: str) -> Wanted:
    from huggingface_hub import HfApi

    api = HfApi()
    info = _asked(key, name, lambda: api.model_info(name, files_metadata=True, timeout=_INFO_S))
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    parts = _parts(api, key, name, info.sha) if INDEX in sizes else None
    files = files_read(list(sizes), parts)
    if not any(file.endswith(WEIGHTS) for file in files):
        raise BadInput(f"{key}: {HUB_PREFIX}{name} has no .safetensors weights that are read here; name another model")
    said = info.card_data.to_dict() if info.card_data is not None else {}
    return Wanted(
        key, name, info.sha, {file: sizes[file] for file in files}, str(said.get("license", "not said")),
        str(info.gated or ""),
    )  # fmt: skip


def _parts(api: HfApi, key: str, name: str, revision: str) -> list[str]:
    """The parts of a pipeline that have a folder."""
    index = _asked(key, name, lambda: api.hf_hub_download(name, INDEX, revision=revision))
    said = json.loads(Path(index).read_text(encoding="utf-8"))
    return parts_of_index(said)


def _refuse_without_room(found: Sequence[Wanted], to: Path | None) -> None:
    """Refuse where the disk has no room for what is not there yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    missing = 0
    for one in found:
        plan = _asked(one.key, one.name, lambda one=one: snapshot_download(**_call(one, to), dry_run=True))
        missing += sum(file.file_size for file in plan if file.will_download)
    place = to or Path(HF_HUB_CACHE)
    there = next(folder for folder in (place.resolve(), *place.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise BadInput(
            f"--to {place}: {missing / _GB:.1f} GB are missing, and {free / _GB:.1f} GB are free there; choose another "
            "disk with --to or HF_HOME"
        )


def _call(one: Wanted, to: Path | None) -> dict[str, Any]:
    place = {} if to is None else {"local_dir": to / one.name.replace("/", "--")}
    return {"repo_id": one.name, "revision": one.revision, "allow_patterns": list(one.files), **place}


def _brought(one: Wanted, to: Path | None) -> Path:
    from huggingface_hub import snapshot_download

    return Path(_asked(one.key, one.name, lambda: snapshot_download(**_call(one, to)))).resolve()


def _asked(key: str, name: str, ask: Any) -> Any:
    """What the hub answers, or an error that says what to do."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    where = f"{key}: {HUB_PREFIX}{name}"
    try:
        return ask()
    except GatedRepoError as error:
        raise BadInput(f"{where} is gated: accept its terms at the hub, and set HF_TOKEN to your token") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(f"{where} is not on the hub; check its name, and HF_TOKEN if it is private") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise RunFailed(f"{where} was not fetched: {error}; run the command again, it goes on from here") from error
