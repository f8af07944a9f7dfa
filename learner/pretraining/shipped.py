"""What a run of the small preset has trained, made small enough to lie beside the models that it started from."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FILE = "made.json"
_FROZEN = ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae")
_WEIGHTS = {"actor": "model.safetensors", "editor": "transformer/diffusion_pytorch_model.safetensors"}


def ship_trained(run: Path, base: Path, out: Path, commands: list[str]) -> None:
    """Write `out/models/actor`, `out/models/editor`, and `out/made.json`, which says how they were made, what they
    score and what each file's digest is.

    Weights are kept in half precision, with which a few answers are others; what an engine computes in stays as its
    settings say. The parts of the editor that no run trains are links to those in `base`.

    Args:
        run: a run that trained both policies with all their weights, and has ended.
        base: the folder of the models that it started from.
        commands: those that made the run and this, as they are to be given again.

    Raises:
        ValueError: the run has not ended, trained an adapter, or started from other models.
    """
    summary = _read(run / "summary.json")
    if "after" not in summary:
        raise ValueError(f"{run}: the run has not ended; go on with rlrig train --resume --out {run}")
    folders = {policy: run / "models" / policy for policy in _WEIGHTS}
    for policy, folder in folders.items():
        if not (folder / _WEIGHTS[policy]).is_file() or (folder / "lora").is_dir():
            raise ValueError(f"{folder}: holds no {policy} that was trained with all its weights; train both policies")
    raw = {"actor": base / "actor", "editor": base / "flux"}
    for part in _FROZEN:
        for file in sorted((folders["editor"] / part).glob("*.safetensors")):
            if digest(file) != digest(raw["editor"] / part / file.name):
                raise ValueError(f"{file}: is not that of {raw['editor']}; the run started from another model")
    shutil.rmtree(out, ignore_errors=True)
    for policy, folder in folders.items():
        _copy_small(raw[policy], out / "models" / policy, _WEIGHTS[policy])
        shutil.copy(folder / "README.md", out / "models" / policy)
        _halve(folder / _WEIGHTS[policy], out / "models" / policy / _WEIGHTS[policy])
    editor = out / "models" / "editor"
    for part in _FROZEN:
        (editor / part).symlink_to(Path("../../..") / base.name / "flux" / part)
    last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    made = {
        "run_file": "run.yaml",
        "commands": commands,
        "versions": {policy: last[f"{policy}_version"] for policy in _WEIGHTS},
        "held_out": {"prompts": summary["prompts"], "before": summary["before"], "after": summary["after"]},
        "sha256": {str(file.relative_to(out)): digest(file) for file in described(out)},
    }
    (out / FILE).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def described(out: Path) -> list[Path]:
    """The files whose digests are written down: all but the cards, which anyone may word better."""
    return [file for file in sorted(out.rglob("*")) if file.is_file() and file.suffix != ".md" and file.name != FILE]


def digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _copy_small(raw: Path, folder: Path, weights: str) -> None:
    """What a model folder holds besides weights and frozen parts, from the one that training started from."""
    place = (folder / weights).parent
    place.mkdir(parents=True)
    for source, target in {raw: folder, (raw / weights).parent: place}.items():
        for file in source.iterdir():
            if file.is_file() and file.suffix in (".json", ".jinja"):
                shutil.copy(file, target)


def _halve(source: Path, target: Path) -> None:
    with safe_open(source, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if lost := [name for name, tensor in halves.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(f"{source}: {lost[0]} does not fit into half precision")
    save_file(halves, target, metadata)
    target.chmod(0o644)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
