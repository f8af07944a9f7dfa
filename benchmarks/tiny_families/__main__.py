"""Tiny models for the large presets, and the command that runs such a preset with them on two cores.

`python -m benchmarks.tiny_families presets/flux-kontext-qwen.yaml FOLDER` writes the models and some records of made-up
scenes into FOLDER (a minute) and prints the command. It changes sizes, counts and devices, and nothing else of the
preset: the architectures, the dialogue, bfloat16, LoRA, ZeRO and the staleness are those of the preset.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

import numpy as np

from benchmarks.tiny_families.flux import build_flux, build_flux_kontext
from benchmarks.tiny_families.player import player, requirements
from benchmarks.tiny_families.qwen_image import build_qwen_image_edit

EDITORS = {"flux-kontext-qwen": build_flux_kontext, "qwen-image-edit": build_qwen_image_edit}
"""What makes the editor, by preset."""
_RECORDS = "records.json"
_VLM = {
    "max_model_len": "1024",
    "kv_cache_gib": "0.125",
    "image_cache_gib": "0.0625",
    "gpus": "0",
    "cpus": "0.1",
    "replicas": "1",
}
SIZES = {
    "stages": "[{stage: actor, updates: 2}, {stage: editor, updates: 2}]",
    "rollout.turns": "2",
    "rollout.prompts_per_update": "2",
    "rollout.group_size": "6",
    "rollout.max_tries": "50",
    "rollout.env_runners": "1",
    "rollout.max_answer_tokens": "96",
    "diffuser.image_size": "64",
    "diffuser.steps": "2",
    "diffuser.workers": "1",
    "diffuser.gpus": "0",
    "editor.steps": "4",
    "editor.evaluation_steps": "4",
    "editor.workers": "1",
    "editor.gpus": "0",
    "sync.editor": "gloo",
    "learner.actor.lora.rank": "4",
    "learner.editor.lora.rank": "4",
    "learner.actor.ranks": "2",
    "learner.editor.ranks": "2",
    "learner.actor.gpus_per_rank": "0",
    "learner.editor.gpus_per_rank": "0",
    "learner.actor.cpus_per_rank": "0.5",
    "learner.editor.cpus_per_rank": "0.5",
    "evaluation.prompts": "2",
    "evaluation.every": "0",
    "checkpoint.every": "1",
    "ray.address": "null",
    "needs": "{cores: 2, memory_gib: 10, disk_gib: 2, gpus: 0}",
    **{f"vlm.{role}.{key}": value for role in ("actor", "checker") for key, value in _VLM.items()},
}


def build(preset: str, folder: Path) -> dict[str, Path]:
    """Make the models of a preset: folders by role."""
    vlm = player("qwen2.5", folder / "vlm")
    (folder / _RECORDS).write_text(json.dumps([_record(number) for number in range(64)]), encoding="utf-8")
    flux, editor = build_flux(folder / "flux"), EDITORS[preset](folder / "editor")
    return {"flux": flux, "editor": editor, "checker": vlm, "actor": vlm}


def _record(number: int) -> dict[str, object]:
    """A made-up scene, as LAION-SG writes one."""
    found = requirements(np.random.default_rng(number))
    names = list(dict.fromkeys(name for one in found for name in (one.subject, one.object)))
    relations = [(names.index(one.subject), one.predicate, names.index(one.object)) for one in found]
    return {
        "img_id": str(number),
        "name": f"{number}.jpg",
        "caption_ori": ", ".join(names),
        "items": [{"item_id": k, "label": name, "attributes": []} for k, name in enumerate(names)],
        "relations": [
            {"triple_id": k, "item1": one, "relation": relation, "item2": other}
            for k, (one, relation, other) in enumerate(relations)
        ],
    }


_OWN = {"qwen-image-edit": {"editor.source_size": "96"}}  # of a preset


def overrides(preset: str, folder: Path) -> list[str]:
    """What `--set` takes for a folder that `build` has filled."""
    models = {"flux": "flux", "editor": "editor", "checker": "vlm", "actor": "vlm"}
    own = {f"models.{role}": str((folder / name).resolve()) for role, name in models.items()}
    changed = {**own, "data.path": str((folder / _RECORDS).resolve()), **SIZES, **_OWN.get(preset, {})}
    return [f"{key}={value}" for key, value in changed.items()]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.preset.stem not in EDITORS:
        parser.error(f"{given.preset}: tiny models are there for {', '.join(EDITORS)}")
    build(given.preset.stem, given.folder)
    sets = [word for override in overrides(given.preset.stem, given.folder) for word in ("--set", override)]
    print(shlex.join(["rlrig", "train", str(given.preset), *sets]))


if __name__ == "__main__":
    main()
