"""Where a page finds the others: behind the service, or beside itself as a file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from urllib.parse import quote, urlencode


class Links(Protocol):
    """Addresses of the pages; None where a page is not there."""

    files: bool
    """Whether the pages are files, which no service answers for."""

    def asset(self, name: str) -> str:
        """A style sheet or script."""
        ...

    def studio(self) -> str | None:
        """The page Studio."""
        ...

    def runs(self, page: int = 1) -> str | None:
        """The list of runs."""
        ...

    def run(self, name: str, page: int = 1) -> str:
        """One run."""
        ...

    def groups(self, name: str, update: int | None = None, **filters: str) -> str | None:
        """The groups of an update, by default of the last one."""
        ...

    def trajectory(self, name: str, update: int, group: int, member: int) -> str | None:
        """One member of a group."""
        ...


class ServedLinks:
    """Addresses of a service, which has Studio or not."""

    files = False

    def __init__(self, studio: bool = True) -> None:
        self._studio = studio

    def asset(self, name: str) -> str:
        return f"/pages/static/{name}"

    def studio(self) -> str | None:
        return "/studio" if self._studio else None

    def runs(self, page: int = 1) -> str | None:
        return "/runs" + _query(page=page if page > 1 else None)

    def run(self, name: str, page: int = 1) -> str:
        return f"/runs/{quote(name, safe='')}" + _query(page=page if page > 1 else None)

    def groups(self, name: str, update: int | None = None, **filters: str) -> str | None:
        return f"{self.run(name)}/groups" + _query(update=update, **filters)

    def trajectory(self, name: str, update: int, group: int, member: int) -> str | None:
        return f"{self.run(name)}/trajectories/{update}/{group}/{member}"


class FileLinks:
    """Names of files in one folder, which hold the groups and trajectories of some `updates`."""

    files = True

    def __init__(self, updates: Collection[int]) -> None:
        self._updates = sorted(updates)

    def asset(self, name: str) -> str:
        return name

    def studio(self) -> str | None:
        return "studio.html"

    def runs(self, page: int = 1) -> str | None:
        return None

    def run(self, name: str, page: int = 1) -> str:
        return "index.html"

    def groups(self, name: str, update: int | None = None, **filters: str) -> str | None:
        if update is None:
            update = self._updates[-1] if self._updates else None
        return f"groups-{update:05}.html" if update in self._updates else None

    def trajectory(self, name: str, update: int, group: int, member: int) -> str | None:
        return f"trajectory-{update:05}-{group}-{member}.html" if update in self._updates else None


def _query(**values: object) -> str:
    given = {key: value for key, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
