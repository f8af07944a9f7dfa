"""Run files: YAML and `--set key=value` in, a checked `RunConfig` out, and errors that name the key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rollout.config import DERIVED, HUB_PREFIX, RunConfig
from rollout.errors import BadInput
from scenes.entry_point import is_entry_point

REPOSITORY = Path(__file__).resolve().parent.parent
_INDEX_FILE = {
    "flux": "model_index.json",
    "editor": "model_index.json",
    "checker": "config.json",
    "actor": "config.json",
}
_MADE_BY = "; make it with `rlrig pretrain`, or name a model on the hub as hf://owner/name"


class ConfigError(BadInput):
    """A run file that cannot be used; each line of the message names a key, its value and what is allowed."""


class _Loader(yaml.SafeLoader):
    """YAML in which a key that occurs twice is an error, not a silent loss of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} occurs twice", key_node.start_mark)
            seen.add(str(key))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.2's floats: PyYAML takes 1e-4 for a string
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        ConfigError: broken YAML; the message says in which line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{where}{place}: broken YAML: {getattr(error, 'problem', None) or error}") from error


def _presets() -> list[Path]:
    return sorted([*REPOSITORY.glob("presets/*/run.yaml"), *REPOSITORY.glob("presets/*.yaml")])


def read_run_file(path: Path) -> dict[str, Any]:
    """The mapping in a run file.

    Raises:
        ConfigError: no such file, broken YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        presets = ", ".join(str(p.relative_to(REPOSITORY)) for p in _presets())
        raise ConfigError(f"{path}: no such run file; the presets are: {presets or 'none'}") from error
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
            raise ConfigError(f"--set {override!r}: write key.sub=value, for example rollout.group_size=6")
        place: Any = values
        for depth, part in enumerate(parts[:-1]):
            place = _step_into(place, part, ".".join(parts[: depth + 1]), override)
        value = parse_yaml(text, f"--set {override}")
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
    if not part.isdigit() or int(part) >= len(items):
        raise ConfigError(f"--set {override!r}: {part!r} is not a position of this list, which has {len(items)} items")
    return int(part)


def _step_into(place: Any, part: str, so_far: str, override: str) -> Any:
    if isinstance(place, list):
        inner = place[_position(place, part, override)]
    else:
        inner = place[part] = {} if place.get(part) is None else place[part]
    if not isinstance(inner, dict | list):
        raise ConfigError(f"--set {override!r}: {so_far} is {inner!r}, which has no keys below it")
    return inner


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read, override and check a run file; model folders and the data file become absolute paths.

    Raises:
        ConfigError: anything that is wrong, all of it in one message.
    """
    values = apply_overrides(read_run_file(path), overrides)
    problems = resolve_paths(values, path.resolve().parent)
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        problems += explain(error)
    if problems:
        raise ConfigError("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))
    return config


def load_run_config(run: Path, overrides: Sequence[str], option: str = "--run") -> RunConfig:
    """The configuration in a run's folder; `option` is what the command calls it.

    Raises:
        BadInput: the folder is no run's, or see `load_config`.
    """
    if not (run / "config.yaml").is_file():
        raise BadInput(f"{option} {run}: holds no config.yaml; give the folder of a run, runs/NAME")
    return load_config(run / "config.yaml", overrides)


def resolve_paths(values: dict[str, Any], folder: Path) -> list[str]:
    """Make the model folders and the data file of a raw configuration absolute, in place. They are looked for in
    `folder`, then in the repository. The result says what is missing. What code of the user's own is told as
    `data.path` need not be there.
    """
    problems = []
    models = values.get("models")
    for name, index in _INDEX_FILE.items() if isinstance(models, dict) else ():
        value = models.get(name)
        if not isinstance(value, str) or value.startswith(HUB_PREFIX):
            continue
        places = list(dict.fromkeys((base / value).resolve() for base in (folder, REPOSITORY)))
        place = next((p for p in places if p.is_dir()), None)
        if place is None:
            looked = " and ".join(map(str, places))
            problems.append(f"models.{name}: {value!r} is no folder (looked for {looked}){_MADE_BY}")
        elif not (place / index).is_file():
            problems.append(f"models.{name}: {place} holds no {index}{_MADE_BY}")
        else:
            models[name] = str(place)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        places = list(dict.fromkeys((base / data["path"]).resolve() for base in (folder, REPOSITORY)))
        place = next((p for p in places if p.is_file()), None)
        if is_entry_point(str(data.get("source"))):
            here = Path(data["path"]).resolve()  # beside the code, which is looked for in the working directory
            data["path"] = next((str(p) for p in (here, *places) if p.exists()), data["path"])
        elif place is None:
            problems.append(f"data.path: {data['path']!r} is no file (looked for {' and '.join(map(str, places))})")
        else:
            data["path"] = str(place)
    return problems


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
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def explain(error: ValidationError, root: type[BaseModel] = RunConfig) -> list[str]:
    """One line for each mistake in a `root`: the key's dotted name, the value given, and what is allowed."""
    lines = []
    for mistake in error.errors():
        location = [part for part in mistake["loc"] if part not in ("tuple", "list")]
        key = ".".join(map(str, location))
        kind, value = mistake["type"], mistake["input"]
        if key in DERIVED:  # its source has the same mistake
            continue
        if kind == "extra_forbidden":
            allowed = list(_model_at(location[:-1], root).model_fields)
            lines.append(f"{key}: unknown key{_suggest(str(location[-1]), allowed)}; allowed: {', '.join(allowed)}")
        elif kind == "missing":
            lines.append(f"{key}: is missing{_describe(location, root)}")
        elif kind == "value_error" and not location:
            lines += str(mistake["ctx"]["error"]).splitlines()
        elif kind == "value_error":
            lines.append(f"{key}: {mistake['ctx']['error']}")
        else:
            wrong = mistake["msg"].replace("Input should be", "must be").replace("'", "")
            options = re.findall(r"'([^']+)'", mistake["msg"]) if kind == "literal_error" else []
            hint = _suggest(value, options) if isinstance(value, str) else ""
            lines.append(f"{key}: {value!r} is refused: {wrong}{hint}{_describe(location, root)}")
    return lines


def _suggest(word: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _describe(location: Sequence[str | int], root: type[BaseModel]) -> str:
    names = [part for part in location if isinstance(part, str)]
    if not names or isinstance(location[-1], int):
        return ""
    field = _model_at(location[:-1], root).model_fields.get(names[-1])
    return f" ({field.description})" if field is not None and field.description else ""


def _model_at(location: Sequence[str | int], root: type[BaseModel]) -> type[BaseModel]:
    """The section that a location of the run file lies in."""
    model = root
    for part in location:
        fields: Mapping[str, Any] = model.model_fields
        if isinstance(part, str) and part in fields:
            model = section_of(fields[part].annotation) or model
    return model


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The pydantic type that a field's annotation names, in a list or beside None, too; None where it names none."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := section_of(arg))), None)
