"""Code that the user brings: `module:name` in a run file, imported by each process that uses it."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class EntryPointError(ValueError):
    """Code that cannot be used: the message names the key, its value and the remedy."""


def is_entry_point(value: str) -> bool:
    """Whether a text has the form `module:name` or `package.module:name`. Nothing is imported."""
    return _FORM.fullmatch(value) is not None


def load_entry_point(key: str, value: str) -> Callable[..., Any]:
    """The function or class that the run file's `key` names as `module:name`.

    Modules are looked for in the working directory, too, as with `python -m`.

    Raises:
        EntryPointError: the text has another form, there is no such module or name, importing it fails, or what it
            names cannot be called.
    """
    if not is_entry_point(value):
        raise EntryPointError(f"{key}: {value!r} is refused: write module:name, for example my_module:my_function")
    module_name, _, name = value.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise EntryPointError(
                f"{key}: {value!r} is refused: there is no module {error.name!r}; start from the folder that holds "
                f"{module_name.split('.')[0]}.py, or name that folder in PYTHONPATH"
            ) from error
        raise EntryPointError(
            f"{key}: {value!r} is refused: {module_name} needs the module {error.name!r}, which is not installed here"
        ) from error
    except Exception as error:
        raise EntryPointError(
            f"{key}: {value!r} is refused: importing {module_name} fails with {type(error).__name__}: {error}; "
            f"`python -c 'import {module_name}'` shows where"
        ) from error
    found: object = getattr(module, name, None)
    if not callable(found):
        what = f"has no {name}" if not hasattr(module, name) else f"holds {type(found).__name__} as {name}"
        raise EntryPointError(
            f"{key}: {value!r} is refused: {module_name} {what}; name a function or a class that it defines"
        )
    return found
