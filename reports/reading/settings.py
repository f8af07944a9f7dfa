"""A run's `config.yaml` as plain values: bounded, and with what cannot be left out by name."""

from __future__ import annotations

import math
from typing import Any

import yaml

from reports.reading.values import DEEPEST, Checker, Faults, Values
from scenes.harmless_text import harmless, name_of

FILE = "config.yaml"
MOST_BYTES, MOST_NODES = 1 << 18, 20_000
_LARGEST = 2.0**64  # a seed may be any 64-bit number
_PLAIN = ("null", "bool", "int", "float", "str", "timestamp")
_TAG = "tag:yaml.org,2002:"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_settings(text: str) -> tuple[Values, list[str]]:
    """The values of a configuration, which are not checked against the keys that there are, and what is wrong with it.
    Numbers, texts, truth values, lists and mappings are read; an entry that is none is left out."""
    faults = Faults(FILE)
    loader = None
    try:
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is longer than {MOST_BYTES} characters")
        loader = _Loader(text)
        _bound(text)
        node = loader.get_single_node()
        if node is None:
            return {}, []
        _size(node, {}, 0)
        if not isinstance(node, yaml.MappingNode):
            raise ValueError("it is not a mapping")
        values = _Reader(loader, faults).value(node, "")
    except yaml.YAMLError as error:
        return {}, [name_of(f"{FILE} is left out: broken YAML: {_first_words(error)}", 300)]
    except (ValueError, RecursionError) as error:
        return {}, [name_of(f"{FILE} is left out: {error}", 300)]
    finally:
        if loader is not None:
            loader.dispose()
    found = Checker(FILE, faults, _LARGEST).mapping(values)
    Checker(FILE, faults).keep(found, "stages", lambda value: isinstance(value, list), "no list")
    return found, faults.texts


def _bound(text: str) -> None:
    """Refuse what is nested so deeply, or has so many parts, that it cannot be built; an alias is one part here."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        if count > 2 * MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES} parts")


def _size(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Nodes below this one, aliases written out."""
    if id(node) in known:
        return known[id(node)]
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    parts = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    size = 1 + sum(_size(part, known, depth + 1) for part in parts)
    if size > MOST_NODES:
        raise ValueError(f"it has more than {MOST_NODES} parts, aliases written out")
    known[id(node)] = size
    return size


class _Reader:
    def __init__(self, loader: Any, faults: Faults) -> None:
        self._loader, self._faults = loader, faults

    def value(self, node: yaml.Node, path: str) -> Any:
        """The plain value of a node, `...` where it has none; a number that is too long is infinite."""
        if isinstance(node, yaml.MappingNode):
            self._loader.flatten_mapping(node)
            pairs = [(_key(key), value) for key, value in node.value]
            read = {key: self.value(value, f"{path}.{key}" if path else key) for key, value in pairs}
            return {key: value for key, value in read.items() if value is not ...}
        if isinstance(node, yaml.SequenceNode):
            items = [self.value(one, f"{path}.{place}") for place, one in enumerate(node.value)]
            return [one for one in items if one is not ...]
        kind = node.tag.removeprefix(_TAG)
        if kind not in _PLAIN or node.tag == kind:
            self._faults.add(f"{FILE}: {path} has the tag {node.tag}, left out")
            return ...
        if kind in ("str", "timestamp"):
            return node.value
        if kind == "int" and len(node.value) > 40:
            return math.inf
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
            self._faults.add(f"{FILE}: {path} is {node.value[:40]!r}, left out (no {kind}: {type(error).__name__})")
            return ...


def _key(node: yaml.Node) -> str:
    return name_of(node.value) if isinstance(node, yaml.ScalarNode) else "?"


def _first_words(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the lines of the file."""
    mark = getattr(error, "problem_mark", None)
    what = harmless(str(getattr(error, "problem", None) or type(error).__name__), 120)
    return f"{what} in line {mark.line + 1}" if mark is not None else what
