"""The files that the world around a repository reads: each can be parsed, and what it names is there."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.test_links import broken, links_of
from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", ".github/pull_request_template.md")
SUBJECT = ROOT / "deploy" / "commit_subject.py"


def parsed(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_license_is_apache_2_word_by_word() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    assert broken(ROOT / page, (ROOT / page).read_text(encoding="utf-8")) == []


def test_the_guide_is_short_and_its_commands_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert len(links_of(text)) >= 2
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert {"venv", "lint", "test-fast", "test"} <= named <= targets
    for path in re.findall(r"\btests/[\w/]+(?:\.py)?", text):
        assert (ROOT / path).exists(), path


def test_the_changelog_has_a_part_for_this_version_and_one_for_what_comes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+)\]$", text, re.MULTILINE) == ["Unreleased", PROJECT["version"]]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_new_names_of_moved_files_are_those_of_files() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("  | `")]
    assert len(rows) >= 10
    for before, now in rows:
        for name in re.findall(r"`([\w.]+)`", now):
            place = ROOT / name.replace(".", "/")
            assert place.is_dir() or place.with_suffix(".py").is_file(), name
        for name in re.findall(r"`([\w.]+)`", before):
            place = ROOT / name.replace(".", "/")
            assert not (place / "__init__.py").exists(), name
            assert not place.with_suffix(".py").exists(), name


def test_the_citation_has_what_the_format_needs() -> None:
    citation = parsed("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert paper["url"].endswith(paper["identifiers"][0]["value"].removeprefix("arXiv:"))
    assert paper["url"] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_workflow_runs_what_a_developer_runs() -> None:
    workflow = parsed(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"] <= 180
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert python == "3.11"


@pytest.mark.parametrize("name", ["bug.yml", "model_family.yml"])
def test_an_issue_form_asks_for_something(name: str) -> None:
    form = parsed(f".github/ISSUE_TEMPLATE/{name}")
    assert {"name", "description", "body"} <= set(form)
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    names = [part["id"] for part in asked]
    assert len(set(names)) == len(names) >= 3
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)
    for path in re.findall(r"\bdocs/[\w/.]*\w", (TEMPLATES / name).read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def test_blank_issues_stay_possible() -> None:
    assert parsed(".github/ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": True}


def test_the_hooks_fetch_nothing_and_run_tools_of_the_environment() -> None:
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert {"ruff-check", "ruff-format", "lint-imports", "mypy", "commit-subject"} == set(hooks)
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    for hook in hooks.values():
        program, *arguments = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        assert Path(sys.executable).with_name(Path(program).name).exists(), program
        assert all((ROOT / argument).is_file() for argument in arguments if "/" in argument)
    assert hooks["commit-subject"]["stages"] == ["commit-msg"]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("rollout: send late groups first\n\nBecause they wait.\n", None),
        ("# a comment of git's\n\nactors, learner: share the path\n", None),
        ('Revert "rollout: send late groups first"\n', None),
        ("rollout: " + "x" * 63, None),
        ("rollout: " + "x" * 64, "73 characters; at most 72"),
        ("Send late groups first\n", "no room in front"),
        ("rollout:send late groups first\n", "no room in front"),
        ("rollout: send late groups first.\n", "full stop"),
        ("\n# only a comment\n", "no room in front"),
    ],
)
def test_the_subject_of_a_commit_is_checked(message: str, says: str | None, tmp_path: Path) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message)
    done = subprocess.run([sys.executable, SUBJECT, file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (0 if says is None else 1)
    assert (says or "") in done.stderr
