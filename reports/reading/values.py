"""Values that came from JSON or YAML, checked one by one: what cannot be is left out, and named with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from scenes.harmless_text import harmless, name_of

LARGEST = 1e15
"""No measurement of a run is larger; a greater number is damage."""
DEEPEST, MOST_ENTRIES, MOST_FAULTS = 12, 2000, 20
_NOTHING: Any = object()
Values = dict[str, Any]


class Faults:
    """What is wrong with one file; `texts` name the first `MOST_FAULTS`, then how many more there are."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._texts: list[str] = []
        self._more = 0

    def add(self, text: str) -> None:
        """One fault."""
        if len(self._texts) < MOST_FAULTS:
            self._texts.append(name_of(text, 300))
        else:
            self._more += 1

    @property
    def texts(self) -> list[str]:
        """All of them, for a person."""
        return [*self._texts, *([f"{self.what}: {self._more} more faults"] if self._more else [])]


def is_number(value: Any, largest: float = LARGEST) -> TypeGuard[float]:
    """Whether it is a finite number that can be; a truth value is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= largest if isinstance(value, int) else math.isfinite(value) and abs(value) <= largest


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 0 on."""
    return is_number(value) and value >= 0 and float(value).is_integer()


class Checker:
    """Copies values and keeps what can be. `place` begins the name of what is left out; `largest` bounds numbers."""

    def __init__(self, place: str, faults: Faults, largest: float = LARGEST) -> None:
        self._place, self._faults, self._largest = place, faults, largest

    def mapping(self, given: Mapping[Any, Any]) -> Values:
        """The entries of an object that can be."""
        return self._mapping(given, "", 0)

    def leave_out(self, path: str, value: Any, why: str = "") -> None:
        """Name a value that is left out."""
        shown = name_of(repr(value) if isinstance(value, str | int | float) else type(value).__name__, 40)
        self._faults.add(f"{self._place}: {name_of(path)} is {shown}, left out{f' ({why})' if why else ''}")

    def keep(self, values: Values, key: str, fits: Callable[[Any], bool], why: str, path: str = "") -> None:
        """Leave the entry out where it is there, is not None and does not fit."""
        if values.get(key) is not None and not fits(values[key]):
            self.leave_out(path or key, values.pop(key), why)

    def _mapping(self, given: Mapping[Any, Any], path: str, depth: int) -> Values:
        found: Values = {}
        for number, (key, value) in enumerate(given.items()):
            if number == MOST_ENTRIES:
                self._faults.add(f"{self._place}: {path or 'it'} holds {len(given)} entries; {number} are read")
                break
            name = name_of(str(key))
            kept = self._value(value, f"{path}.{name}" if path else name, depth + 1)
            if kept is not _NOTHING:
                found[name] = kept
        return found

    def _value(self, value: Any, path: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return harmless(value)
        if isinstance(value, int | float):
            if is_number(value, self._largest):
                return value
            self.leave_out(path, value)
        elif depth >= DEEPEST:
            self.leave_out(path, value, "nested too deeply")
        elif isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        elif isinstance(value, list):
            if len(value) > MOST_ENTRIES:
                self._faults.add(f"{self._place}: {path} holds {len(value)} entries; {MOST_ENTRIES} are read")
            kept = [self._value(one, f"{path}.{place}", depth + 1) for place, one in enumerate(value[:MOST_ENTRIES])]
            return [one for one in kept if one is not _NOTHING]
        else:
            self.leave_out(path, value)
        return _NOTHING


def read_json(text: str | bytes) -> Any:
    """JSON values; a whole number of more digits than can be is infinite.

    Raises:
        ValueError: no JSON, or nested too deeply; the message says what is wrong in a few words.
    """
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 30 else math.inf)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error.msg} at character {error.pos}") from None
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
