"""What all commands of `rlrig` share: exit codes and options."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, TextIO

import typer

from presets.choice.trained_models import Models
from presets.errors import BadInput, RunFailed
from rlrig.this_job import JOB_VARIABLE
from scenes.harmless_text import harmless

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

Preset = Annotated[Path, typer.Argument(help="Run file.", show_default=True)]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key; may be repeated.")]
Run = Annotated[Path | None, typer.Option("--run", help="Use the trained models of this run's folder.")]
ModelsOption = Annotated[
    Models | None,
    typer.Option(help="Trained models, or those that training starts from; default trained, where there are some."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]


@contextmanager
def exit_codes(as_json: bool = False) -> Iterator[TextIO]:
    """Turn what is raised inside into one message on standard error and an exit code. Yields standard output; with
    `as_json` nothing else may write to it, and what libraries print goes to standard error."""
    code, message, out = OK, "", sys.stdout
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            yield out
    except KeyboardInterrupt:
        code, message = INTERRUPTED, "interrupted"
    except BadInput as error:
        code, message = BAD_INPUT, str(error)
    except (RunFailed, OSError) as error:
        code, message = FAILED, str(error)
    except typer.Exit:
        raise
    except Exception as error:
        from actors.site import said  # it loads Ray, which help and bad input can do without

        traceback.print_exc()
        code, message = FAILED, said(error)
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code:
        print(f"rlrig: {harmless(message)}", file=sys.stderr)
        if as_json:
            print(json.dumps({"event": "error", "exit_code": code, "message": message}), flush=True)
        raise typer.Exit(code)


@contextmanager
def naming(flags: Mapping[str, str]) -> Iterator[None]:
    """What is refused within the block is called as it was given: `--port`, not `gateway.port`.

    Args:
        flags: the flags that were given, by the keys that they set.
    """
    try:
        yield
    except BadInput as error:
        parts = [line.partition(":") for line in str(error).splitlines()]
        raise type(error)("\n".join(f"{flags.get(key, key)}{colon}{rest}" for key, colon, rest in parts)) from error


def dated(name: str) -> str:
    """`name`, and the time as files and folders bear it."""
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def settings(given: list[str] | None) -> list[str]:
    """The `--set` options, before them what follows from where this process runs: a job of a Ray cluster joins it."""
    return [*(["ray.address=auto"] if JOB_VARIABLE in os.environ else []), *(given or [])]
