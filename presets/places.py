"""Where the run files and small models that come with the code lie, in a checkout and in an installed package alike."""

from __future__ import annotations

from pathlib import Path

from presets.errors import BadInput

PRESETS = Path(__file__).resolve().parent
BASE = PRESETS.parent  # the checkout, or where packages are installed
TINY = Path("presets/tiny/run.yaml")  # the default run file; `preset_at` finds it from any folder
JUDGE = PRESETS / "tiny" / "models" / "judge"


def preset_names() -> list[str]:
    """All run files that come with the code, as `preset_at` takes them."""
    found = [*PRESETS.glob("*/run.yaml"), *PRESETS.glob("*.yaml")]
    return sorted(str(path.relative_to(BASE)) for path in found)


def preset_at(path: Path) -> Path:
    """The run file. One that comes with the code, `presets/…`, is found from any working folder; what lies in the
    working folder counts more. A path that is nowhere is returned as it is."""
    if path.exists() or path.as_posix() not in preset_names():
        return path
    return BASE / path


def in_checkout() -> bool:
    """Whether this code lies in a checkout, and not where a wheel was installed."""
    return (BASE / "pyproject.toml").is_file()


def checkout(folder: str) -> Path:
    """A folder that a checkout has and an installed package has not, such as `docs`.

    Raises:
        BadInput: this code is not in a checkout.
    """
    place = BASE / folder
    if not in_checkout() or not place.is_dir():
        raise BadInput(
            f"{place}: no such folder, as rlrig is installed without its sources; run this in a checkout of them"
        )
    return place
