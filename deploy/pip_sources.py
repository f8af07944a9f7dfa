"""The package sources that pip is configured for, as variables for uv, which does not read pip's configuration.

Prints `NAME=VALUE`, each ended by a zero byte. Variables and not arguments, because URLs may hold passwords, and
everyone on a machine sees the arguments of its processes. What is set for uv itself counts more. pip's constraints are
left out: a lock file names every version.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}
_SECTIONS = ("global", "install", ":env:")  # a later one counts more
_LINE = re.compile(r"^(\S+)\.([\w-]+)=(.+)$")


def pip_options(listing: str) -> dict[str, str]:
    """What `pip install` would use of a `pip config list`."""
    lines = [found.groups() for line in listing.splitlines() if (found := _LINE.match(line))]
    return {
        option: str(ast.literal_eval(value)).strip()
        for section in _SECTIONS
        for where, option, value in lines
        if where == section
    }


def uv_variables(options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """What `options` of pip mean for uv, without the variables of uv that `environment` has.

    Raises:
        ValueError: pip is told something that no variable tells uv.
    """
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"):
        raise ValueError("pip is told no-index, for which uv has no variable")
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    given = {"cert": bundle, **options} if bundle else dict(options)
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip does, take a version from whichever source has it
    for option, variable in _VARIABLES.items():
        values = given.get(option, "").split()
        if option == "find-links":
            values = [place for place in map(_expanded, values) if "://" in place or Path(place).exists()]
        if values and not (variable.startswith("UV_") and environment.get(variable)):
            variables[variable] = ("," if option == "find-links" else " ").join(values)
    return variables


def _expanded(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser())


def main() -> None:
    """Print the variables.

    Raises:
        SystemExit: pip does not tell its configuration, or uv cannot be told it.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        sys.exit(f"pip config list: {listed.stderr.strip()}")
    try:
        variables = uv_variables(pip_options(listed.stdout), os.environ)
    except ValueError as error:
        sys.exit(str(error))
    sys.stdout.write("".join(f"{name}={value}\0" for name, value in variables.items()))


if __name__ == "__main__":
    main()
