"""The part of YAML 1.2 that run files are written in: text to values and back.

Plain words are numbers, `true`, `false` and `null` by YAML 1.2's core schema; `yes`, `1:30` and dates are text. Keys
are text and occur once. Aliases, merge keys and other tags are refused, so that a text is as large as it looks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from presets.errors import ConfigError

MOST_CHARACTERS, DEEPEST = 100_000, 32
_TAG = "tag:yaml.org,2002:"
_SCALARS = {  # the core schema: tag, form, first characters
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
_FORMS = {kind: re.compile(rf"(?:{form})\Z") for kind, (form, _) in _SCALARS.items()}
_MOST_DIGITS = 25  # of an integer of 64 bits, with room for zeros in front


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way
    yaml_constructors: dict[str, Any] = {}  # noqa: RUF012
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(event, f"the alias *{event.anchor} is refused: write out what it stands for")
        if self._depth == DEEPEST:
            raise _refusal(event, f"lists and mappings are nested more than {DEEPEST} deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_text(self, node: yaml.Node) -> str:
        text = self._scalar(node)
        if bad := next((one for one in text if unicodedata.category(one) in ("Cc", "Cs") and one not in "\t\n"), None):
            raise _refusal(node, f"{_shown(text)} is refused: no value holds the character U+{ord(bad):04X}")
        return text

    def construct_number(self, node: yaml.Node) -> int | float:
        kind, text = node.tag.removeprefix(_TAG), self._scalar(node)
        if not _FORMS[kind].match(text):
            raise _refusal(node, f"{_shown(text)} is refused: must be a number, YAML's {kind}")
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        value = int(text, base) if len(text) <= _MOST_DIGITS else 2**64
        if not -(2**63) <= value < 2**63:
            raise _refusal(node, f"{_shown(text)} is refused: must be an integer of 64 bits")
        return value

    def construct_constant(self, node: yaml.Node) -> bool | None:
        kind, text = node.tag.removeprefix(_TAG), self._scalar(node)
        if not _FORMS[kind].match(text):
            raise _refusal(node, f"{_shown(text)} is refused: must be {'true or false' if kind == 'bool' else 'null'}")
        return text.lower() == "true" if kind == "bool" else None

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _refusal(node, f"must be a mapping, and is {_kind(node)}")
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(key_node, f"key {_shown(key)} is refused: keys are text; put it into quotes")
            if key == "<<" and key_node.style is None:
                raise _refusal(key_node, "the merge key << is refused: write its keys out")
            if key in mapping:
                raise _refusal(key_node, f"key {_shown(key)} occurs twice")
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping

    def construct_undefined(self, node: yaml.Node) -> Any:
        raise _refusal(node, f"the tag {_shown(node.tag)} is refused: write a plain value")

    def _scalar(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise _refusal(node, f"must be a single value, and is {_kind(node)}")
        return str(node.value)


for _name, (_form, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, _FORMS[_name], _first)
for _name, _construct in (
    ("null", _Loader.construct_constant),
    ("bool", _Loader.construct_constant),
    ("int", _Loader.construct_number),
    ("float", _Loader.construct_number),
    ("str", _Loader.construct_text),
    ("seq", _Loader.construct_yaml_seq),
    ("map", _Loader.construct_yaml_map),
):
    _Loader.add_constructor(_TAG + _name, _construct)
_Loader.add_constructor(None, _Loader.construct_undefined)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, (_form, _first) in _SCALARS.items():
    _Dumper.add_implicit_resolver(_TAG + _name, _FORMS[_name], _first)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        where: opens the message of an error.

    Raises:
        ConfigError: too long, broken YAML, or what this reader refuses; one line that says where, and which value.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{where}: has more than {MOST_CHARACTERS:,} characters; a run file is much shorter")
    try:
        return yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        what = f"the character U+{ord(text[error.position]):04X} is refused in YAML"
        raise ConfigError(f"{where}, line {line}, column {column}: {what}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        broken = "" if isinstance(error, ConstructorError) else "broken YAML: "
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{where}{place}: {broken}{problem}") from error


def write_yaml(values: Any) -> str:
    """The YAML of mappings, lists, texts, numbers, booleans and None, which `parse_yaml` reads as the same values."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _refusal(place: Any, problem: str) -> ConstructorError:
    return ConstructorError(None, None, problem, place.start_mark)


def _kind(node: yaml.Node) -> str:
    return {"sequence": "a list", "mapping": "a mapping"}.get(node.id, f"{_shown(node.value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
