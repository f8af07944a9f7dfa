"""A model on the hub: just the files that are read of it, brought into the hub's cache or a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from presets.errors import BadInput, RunFailed
from presets.memory.hub import INDEX, WEIGHTS, files_read, parts_of_index
from presets.settings import HUB_PREFIX
from serving.model_folder import BrokenModelFolder, check_model_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

GB = 1e9
_INFO_S = 30.0
_CONFIG = "config.json"
_SHARDS = f"*{WEIGHTS}.index.json"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Wanted:
    """What is read of one model on the hub: its files and their bytes, by name, and what its card says.

    Attributes:
        key: the key of the run file that names it.
        gate: empty, or how its owner lets people in.
    """

    key: str
    name: str
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
        return f"{self.name}: {self.nbytes / GB:.2f} GB in {len(self.files)} files, license {self.license}{gate}"


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


def wanted(key: str, name: str) -> Wanted:
    """What is read of `owner/name`, as the hub says.

    Raises:
        BadInput: it is not there, gated for this machine, or has no weights that are read here.
        RunFailed: the hub does not answer.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    info = asked(key, name, lambda: api.model_info(name, files_metadata=True, timeout=_INFO_S))
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    parts = _parts(api, key, name) if INDEX in sizes else None
    files = files_read(list(sizes), parts)
    if not any(file.endswith(WEIGHTS) for file in files):
        raise BadInput(f"{key}: {HUB_PREFIX}{name} has no .safetensors weights that are read here; name another model")
    said = info.card_data.to_dict() if info.card_data is not None else {}
    license_ = str(said.get("license", "not said"))
    return Wanted(key, name, {file: sizes[file] for file in files}, license_, str(info.gated or ""))


def missing_bytes(one: Wanted, to: Path | None = None) -> int:
    """Of the files that are not there yet. Raises as `brought`."""
    from huggingface_hub import snapshot_download

    plan = asked(one.key, one.name, lambda: snapshot_download(**_call(one, to), dry_run=True))
    return sum(file.file_size for file in plan if file.will_download)


def refuse_without_room(missing: int, to: Path | None = None) -> None:
    """Refuse where the disk has no room for so many bytes more.

    Raises:
        BadInput: it has none.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    place = to or Path(HF_HUB_CACHE)
    there = next(folder for folder in (place.resolve(), *place.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise BadInput(
            f"{f'--to {to}' if to else f'HF_HOME, {place}'}: {missing / GB:.1f} GB are missing, and {free / GB:.1f} GB "
            f"are free there; choose another disk with {'--to or ' if to else ''}HF_HOME"
        )


def brought(one: Wanted, to: Path | None = None) -> Path:
    """The folder of a model, with all that is read of it: what is there stays, and what was cut off goes on.

    Raises:
        BadInput: it is gated, or not on the hub.
        RunFailed: it did not come.
    """
    from huggingface_hub import snapshot_download

    return Path(asked(one.key, one.name, lambda: snapshot_download(**_call(one, to)))).resolve()


def held_bytes(name: str) -> int:
    """Bytes of a model in the hub's cache, with those of files that are on their way."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    total = 0
    for path in (Path(HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "blobs").glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # it has come, and has its last name
            continue
    return total


def check_cached(key: str, name: str) -> None:
    """Look whether all that is read of a model is in the hub's cache. The hub is not asked.

    Raises:
        BadInput: something is missing or cut short.
    """
    from huggingface_hub import try_to_load_from_cache

    where = f"{key}: {HUB_PREFIX}{name}"
    remedy = "run `rlrig fetch` there while the hub can be reached, or name a folder"
    found = (try_to_load_from_cache(name, file) for file in (INDEX, _CONFIG))
    folder = next((Path(path).parent for path in found if isinstance(path, str)), None)
    if folder is None:
        raise BadInput(f"{where} is not in the hub's cache, and HF_HUB_OFFLINE is set: {remedy}")
    try:
        index = folder / INDEX
        parts = parts_of_index(json.loads(index.read_text(encoding="utf-8"))) if index.is_file() else [""]
        for part in parts:
            _check_part(folder / part)
    except (BrokenModelFolder, OSError, ValueError) as error:
        raise BadInput(f"{where}, and HF_HUB_OFFLINE is set: {error}; {remedy}") from error


def _check_part(folder: Path) -> None:
    """Raises BrokenModelFolder, OSError or ValueError where a part of a model is not all there."""
    if not folder.is_dir():
        raise BrokenModelFolder(f"{folder} is missing")
    if not (folder / _CONFIG).is_file():  # a tokenizer, a scheduler
        return
    check_model_folder(str(folder))
    for shards in folder.glob(_SHARDS):
        for name in set(json.loads(shards.read_text(encoding="utf-8"))["weight_map"].values()):
            if not (folder / name).is_file():
                raise BrokenModelFolder(f"{folder / name} is missing")


def _parts(api: HfApi, key: str, name: str) -> list[str]:
    """The parts of a pipeline that have a folder."""
    index = asked(key, name, lambda: api.hf_hub_download(name, INDEX))
    return parts_of_index(json.loads(Path(index).read_text(encoding="utf-8")))


def _call(one: Wanted, to: Path | None) -> dict[str, Any]:
    """Of the branch `main`, which the cache then knows by name: a process that is off-line finds it by that alone."""
    place = {} if to is None else {"local_dir": to / one.name.replace("/", "--")}
    return {"repo_id": one.name, "allow_patterns": list(one.files), **place}


def asked(key: str, name: str, ask: Callable[[], Result]) -> Result:
    """What the hub answers, or an error that says what to do.

    Raises:
        BadInput: the model is gated, or not there.
        RunFailed: the hub does not answer.
    """
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
