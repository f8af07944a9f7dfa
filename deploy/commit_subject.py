"""Checks the subject of a commit message: the room in front, at most 72 characters, no full stop.

python deploy/commit_subject.py FILE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MOST = 72
_FORM = re.compile(r"^[a-z][a-z0-9_./-]*(, [a-z][a-z0-9_./-]*)*: \S")
_BY_GIT = re.compile(r'^(Merge |Revert "|fixup! |squash! |amend! )')


def subject_of(message: str) -> str:
    """The first line that is neither empty nor a comment of git's."""
    return next((line.strip() for line in message.splitlines() if line.strip() and not line.startswith("#")), "")


def problems(subject: str) -> list[str]:
    """What is wrong with a subject; nothing is with one that git writes itself."""
    if _BY_GIT.match(subject):
        return []
    found = []
    if len(subject) > MOST:
        found.append(f"{len(subject)} characters; at most {MOST}")
    if not _FORM.match(subject):
        found.append("no room in front; write for example `rollout: send late groups first`")
    if subject.endswith("."):
        found.append("ends with a full stop")
    return found


if __name__ == "__main__":
    given = subject_of(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.exit("\n".join(f"subject {given!r}: {problem}" for problem in problems(given)) or 0)
