import sys
from pathlib import Path

import pytest

from scenes.entry_point import EntryPointError, is_entry_point, load_entry_point


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that no other test imports from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return tmp_path


@pytest.mark.parametrize("text", ["module:name", "package.module:name", "a_1:B2"])
def test_a_module_and_a_name_are_an_entry_point(text: str) -> None:
    assert is_entry_point(text)


@pytest.mark.parametrize("text", ["hard", "a:", ":b", "a b:c", "a:b.c", "a.py:c d", "1a:b", "a:b:c", "a..b:c", ""])
def test_anything_else_is_none(text: str) -> None:
    assert not is_entry_point(text)
    with pytest.raises(EntryPointError, match=r"rollout\.reward: .* is refused: write module:name"):
        load_entry_point("rollout.reward", text)


def test_a_function_beside_the_working_directory_is_found(here: Path) -> None:
    (here / "entry_found.py").write_text("def twice(x):\n    return 2 * x\n")
    assert load_entry_point("rollout.reward", "entry_found:twice")(21) == 42


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        (None, "f", r"k: '{m}:f' is refused: there is no module '{m}'; start from the folder that holds {m}\.py"),
        ("import not_installed_anywhere", "f", r"{m} needs the module 'not_installed_anywhere', which is not"),
        ("1 / 0", "f", r"importing {m} fails with ZeroDivisionError: division by zero; `python -c 'import {m}'`"),
        ("def g(:", "f", r"importing {m} fails with SyntaxError"),
        ("g = 1", "f", r"{m} has no f; name a function or a class"),
        ("f = 1", "f", r"{m} holds int as f"),
    ],
)
def test_what_cannot_be_used_says_why(here: Path, code: str | None, name: str, expected: str) -> None:
    module = f"entry_{abs(hash((code, name)))}"
    if code is not None:
        (here / f"{module}.py").write_text(code)
    with pytest.raises(EntryPointError, match=expected.format(m=module)):
        load_entry_point("k", f"{module}:{name}")


def test_a_package_that_is_missing_is_named_by_the_part_that_is_missing(here: Path) -> None:
    (here / "entry_package").mkdir()
    (here / "entry_package" / "__init__.py").write_text("")
    with pytest.raises(EntryPointError, match=r"there is no module 'entry_package\.rewards'"):
        load_entry_point("k", "entry_package.rewards:f")
