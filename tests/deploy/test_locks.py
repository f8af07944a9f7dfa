"""The lock files hold what `pyproject.toml` asks for, in the versions that it allows."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = {
    "cpu": [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["cpu"],
        *PROJECT["optional-dependencies"]["dev"],
    ],
    "gpu": [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["gpu"]],
    "aws": PROJECT["optional-dependencies"]["aws"],
}


def pins(lock: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def unmet(asked: list[str], locked: list[str]) -> list[str]:
    """The requirements that no pin satisfies."""
    versions = dict(line.split("==") for line in locked)
    held = {canonicalize_name(name): version for name, version in versions.items()}
    wanted = [Requirement(text) for text in asked]
    return [
        str(one)
        for one in wanted
        if (version := held.get(canonicalize_name(one.name))) is None or version not in one.specifier
    ]


@pytest.mark.parametrize("lock", ASKED)
def test_a_lock_holds_what_the_project_asks_for(lock: str) -> None:
    assert unmet(ASKED[lock], pins(lock)) == []


@pytest.mark.parametrize("lock", ASKED)
def test_a_lock_is_sorted_and_names_each_package_once(lock: str) -> None:
    locked = pins(lock)
    assert locked == sorted(locked, key=str.lower)
    names = [canonicalize_name(line.partition("==")[0]) for line in locked]
    assert len(set(names)) == len(names) > 2


def test_a_package_that_is_missing_or_too_old_is_found() -> None:
    assert unmet(["ray[serve]==2.60.*", "torch>=2.11", "numpy>=2.1"], ["ray==2.59.0", "numpy==2.3.5"]) == [
        "ray[serve]==2.60.*",
        "torch>=2.11",
    ]
