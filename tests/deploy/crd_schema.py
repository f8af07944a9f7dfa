"""A CustomResourceDefinition as a JSON schema that is as strict as `kubectl apply --validate=strict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def strict_schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """The schema of each kind that a folder's CRD files define, by `apiVersion/kind`."""
    schemas = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(folder.glob("*.yaml")):
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), loader):
            if not definition or definition.get("kind") != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                # A CRD does not repeat what the API server itself says of metadata.
                schema["properties"]["metadata"] = {"type": "object"}
                schemas[f"{spec['group']}/{version['name']}/{spec['names']['kind']}"] = schema
    return schemas


def closed(schema: Any) -> Any:
    """The schema with every object closed against unknown fields, unless it says that it keeps them.

    The API server drops unknown fields of a structural schema and refuses them in strict validation; JSON schema would
    let them pass. `x-kubernetes-int-or-string` already comes with an `anyOf`; rules in CEL are not evaluated.
    """
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        result["properties"] = {name: closed(value) for name, value in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    return result
