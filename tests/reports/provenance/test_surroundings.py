import subprocess
from pathlib import Path

import pytest

from reports.provenance.surroundings import code_version, command_text, surroundings


def test_a_run_knows_its_code_packages_machine_and_command() -> None:
    found = surroundings(["/somewhere/bin/rlrig", "train", "--set", "seed=1"])
    assert list(found) == ["code", "packages", "machine", "command"]
    assert found["command"] == "rlrig train --set seed=1"
    assert found["code"].startswith("rlrig ")
    assert "ray 2." in found["packages"]
    assert " GiB of memory" in found["machine"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("s3://me:word@host/bucket", "s3://…@host/bucket"),
        ("s3://b?access_key=AKIA&secret_key=ab/c&region=x", "s3://b?access_key=…&secret_key=…&region=x"),
        ("api_token=abc", "api_token=…"),
        ("rollout.max_answer_tokens=48", "rollout.max_answer_tokens=48"),
    ],
)
def test_what_may_be_a_secret_is_left_out_of_the_command(given: str, told: str) -> None:
    assert command_text(["rlrig", given]).split(maxsplit=1)[1].strip("'") == told


def test_the_commit_is_told_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    assert "commit" not in code_version(tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x"]
    (tmp_path / "file").write_text("1")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True, timeout=60)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, timeout=60, capture_output=True, text=True).stdout
    assert code_version(tmp_path).endswith(f", commit {commit[:12]}")
    (tmp_path / "file").write_text("2")
    assert code_version(tmp_path).endswith(f", commit {commit[:12]}, with changes that are not committed")
