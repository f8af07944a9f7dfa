"""Run files: YAML and `--set key=value` in, a checked `RunConfig` out, and errors that name the key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from presets.errors import BadInput, ConfigError
from presets.mistakes import explain, shown
from presets.places import BASE, preset_names
from presets.run_config import DERIVED, RunConfig
from presets.settings import HUB_PREFIX
from presets.yaml_text import MOST_CHARACTERS, parse_yaml, write_yaml
from scenes.entry_point import is_entry_point

_INDEX_FILE = {
    "flux": "model_index.json",
    "editor": "model_index.json",
    "checker": "config.json",
    "actor": "config.json",
}
_MOST_PARTS = 16  # of a key
_MADE_BY = "; make it with `rlrig pretrain`, or name a model on the hub as hf://owner/name"


def read_run_file(path: Path) -> dict[str, Any]:
    """The mapping in a run file.

    Raises:
        ConfigError: no such file, broken YAML, or no mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)  # a device never ends
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such run file; the presets are: {', '.join(preset_names())}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        kind = "is empty" if values is None else f"holds {type(values).__name__}"
        raise ConfigError(f"{path}: {kind}; a run file is a mapping with the keys {', '.join(RunConfig.model_fields)}")
    return values


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `values` with each `key.sub=value` set; values are YAML, positions of lists are numbers from 0.

    Raises:
        ConfigError: no `=`, or a key that goes through something which is neither mapping nor list.
    """
    values = _copy(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set {shown(override)}: write key.sub=value, for example rollout.group_size=6")
        if len(parts) > _MOST_PARTS:
            raise ConfigError(f"--set {shown(override)}: no key has {len(parts)} parts")
        place: Any = values
        for depth, part in enumerate(parts[:-1]):
            place = _step_into(place, part, ".".join(parts[: depth + 1]), override)
        value = parse_yaml(text, f"--set {_named(override)}")
        if isinstance(place, list):
            place[_position(place, parts[-1], override)] = value
        else:
            place[parts[-1]] = value
    return values


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _position(items: list[Any], part: str, override: str) -> int:
    if part not in map(str, range(len(items))):
        raise ConfigError(
            f"--set {shown(override)}: {shown(part)} is not a position of this list, which has {len(items)} items"
        )
    return int(part)


def _named(override: str) -> str:
    """An override as it was given, or its beginning."""
    return override if len(override) <= 120 else shown(override)


def _step_into(place: Any, part: str, so_far: str, override: str) -> Any:
    if isinstance(place, list):
        inner = place[_position(place, part, override)]
    else:
        inner = place[part] = {} if place.get(part) is None else place[part]
    if not isinstance(inner, dict | list):
        raise ConfigError(f"--set {shown(override)}: {so_far} is {shown(inner)}, which has no keys below it")
    return inner


def load_config(path: Path, overrides: Sequence[str] = (), data: bool = True) -> RunConfig:
    """Read, override and check a run file; model folders and the data file become absolute paths.

    Args:
        data: whether the data file is read later, and so must be there.

    Raises:
        ConfigError: anything that is wrong, all of it in one message.
    """
    values = apply_overrides(read_run_file(path), overrides)
    problems = resolve_paths(values, path.resolve().parent, data)
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        follows = {key: source for key, source in DERIVED.items() if not _holds(values, key)}
        problems += explain(error, RunConfig, follows, {problem.partition(":")[0] for problem in problems})
        raise ConfigError(_listed(path, problems)) from error
    if problems:
        raise ConfigError(_listed(path, problems))
    return config


def _listed(path: Path, problems: Sequence[str]) -> str:
    return "\n".join([f"{path}:", *(f"  {problem}" for problem in problems)])


def _holds(values: dict[str, Any], key: str) -> bool:
    """Whether a raw configuration sets a key itself."""
    place: Any = values
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place is not None


def load_run_config(run: Path, overrides: Sequence[str], option: str = "--run", data: bool = True) -> RunConfig:
    """The configuration in a run's folder; `option` is what the command calls it. For `data`, see `load_config`.

    Raises:
        BadInput: the folder is no run's, or see `load_config`.
    """
    if not (run / "config.yaml").is_file():
        raise BadInput(f"{option} {run}: holds no config.yaml; give the folder of a run, runs/NAME")
    return load_config(run / "config.yaml", overrides, data)


def resolve_paths(values: dict[str, Any], folder: Path, needs_data: bool = True) -> list[str]:
    """Make the model folders and the data of a raw configuration absolute, in place. They are looked for in
    `folder`, then beside `presets/`. The result says what is missing. What code of the user's own is told as
    `data.path` need not be there, nor the data file without `needs_data`.
    """
    problems = []
    models = values["models"] if isinstance(values.get("models"), dict) else {}
    for name, index in _INDEX_FILE.items():
        value = models.get(name)
        if not isinstance(value, str) or value.startswith(HUB_PREFIX):
            continue
        places = _places(value, folder)
        place = next((p for p in places if p.is_dir()), None)
        if place is None:
            looked = f" (looked for {' and '.join(map(str, places))})" if places else ""
            problems.append(f"models.{name}: {shown(value)} is no folder{looked}{_MADE_BY}")
        elif not (place / index).is_file():
            problems.append(f"models.{name}: {place} holds no {index}{_MADE_BY}")
        else:
            models[name] = str(place)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        places = _places(data["path"], folder)
        place = next((p for p in places if p.exists()), None)
        if is_entry_point(str(data.get("source"))):
            here = _places(data["path"], Path())  # beside the code, which is looked for in the working directory
            data["path"] = next((str(p) for p in (*here, *places) if p.exists()), data["path"])
        elif place is not None:
            data["path"] = str(place)
        elif needs_data:
            looked = f" (looked for {' and '.join(map(str, places))})" if places else ""
            problems.append(f"data.path: {shown(data['path'])} is no file or folder{looked}")
    return problems


def _places(value: str, folder: Path) -> list[Path]:
    """Where a path may lie; nowhere, where no file system could hold it."""
    places = []
    for base in (folder, BASE):
        try:
            place = (base / value).resolve()
            place.exists()
        except (OSError, ValueError, RuntimeError):  # too long, a zero byte, or links in a circle
            continue
        places.append(place)
    return list(dict.fromkeys(places))


def model_source(value: str) -> str:
    """What `from_pretrained` takes for a value of `models`: a folder, or `owner/name` for `hf://owner/name`."""
    return value.removeprefix(HUB_PREFIX)


def dump_config(config: RunConfig) -> str:
    """The configuration as a run file that says every value once."""
    values = config.model_dump(mode="json")
    for key in DERIVED:
        place = values
        *outer, last = key.split(".")
        for part in outer:
            place = place[part]
        del place[last]
    return write_yaml(values)
