"""The rooms of the repository, as the contract in `pyproject.toml` lists them."""

import tomllib

from tests.places import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
ROOMS: tuple[str, ...] = tuple(reversed(next(c for c in CONTRACTS["contracts"] if c["id"] == "rooms")["layers"]))
