"""The dashboard's panels and their queries."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tests.places import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "rlrig.json"


class Query(NamedTuple):
    panel: str
    text: str

    def filled(self) -> str:
        """With Grafana's variables replaced as it would for all runs and the last minutes."""
        text = self.text.replace("$__rate_interval", "40s").replace("$__range", "5m").replace("$run", ".*")
        assert "$" not in text, f"{self.panel}: an unknown variable in {text}"
        return text

    def series(self) -> set[str]:
        """The names of the time series; labels, functions and durations are not among them."""
        bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring) ?\([^)]*\)", " ", self.text)
        words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w)(?! *\()", bare)
        return {word for word in words if word not in {"and", "or", "unless", "by", "without", "bool"}}


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    """Every panel but the headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    return [Query(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
