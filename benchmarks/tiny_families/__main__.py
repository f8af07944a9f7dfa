"""Tiny models for the large presets, and the command that runs such a preset with them on two cores.

`python -m benchmarks.tiny_families presets/one-gpu.yaml FOLDER` writes the models and some records of made-up scenes
into FOLDER and prints the command. It changes sizes, counts, devices and the stages, and nothing else of the preset:
the architectures, the dialogue, bfloat16, LoRA, ZeRO, offload and the staleness are those of the preset.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.tiny_families.flux import build_flux, build_flux_kontext
from benchmarks.tiny_families.flux2 import build_flux2_klein
from benchmarks.tiny_families.player import player, requirements
from benchmarks.tiny_families.qwen_image import build_qwen_image_edit
from benchmarks.tiny_families.z_image import build_z_image


@dataclass(frozen=True)
class Models:
    """How the tiny models of a preset are made: what draws, what edits where that is another one, and the kind of
    player that both VLMs are."""

    flux: Callable[[Path], Path]
    editor: Callable[[Path], Path] | None
    vlm: str


PRESETS = {
    "one-gpu": Models(partial(build_flux2_klein, distilled=True), None, "qwen3"),
    "eight-gpus": Models(build_flux, build_flux_kontext, "qwen2.5"),
    "qwen-image-edit": Models(build_z_image, partial(build_qwen_image_edit, plus=True), "qwen2.5"),
    "cluster": Models(build_flux, build_flux_kontext, "qwen2.5"),
}
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
    "placement.share": "[]",
    "learner.actor.lora.rank": "4",
    "learner.editor.lora.rank": "4",
    "learner.actor.gpus_per_rank": "0",
    "learner.editor.gpus_per_rank": "0",
    "learner.actor.cpus_per_rank": "0.5",
    "learner.editor.cpus_per_rank": "0.5",
    "evaluation.prompts": "2",
    "evaluation.every": "0",
    "checkpoint.every": "1",
    "ray.address": "null",
    "ray.num_cpus": "16",
    "ray.object_store_gib": "1.0",
    "needs": "{cores: 2, memory_gib: 10, disk_gib: 2, gpus: 0}",
    **{f"vlm.{role}.{key}": value for role in ("actor", "checker") for key, value in _VLM.items()},
}


def build(preset: str, folder: Path) -> dict[str, Path]:
    """Make the models of a preset: folders by role."""
    models = PRESETS[preset]
    vlm = player(models.vlm, folder / "vlm")
    write_records(folder / _RECORDS)
    flux = models.flux(folder / "flux")
    editor = flux if models.editor is None else models.editor(folder / "editor")
    return {"flux": flux, "editor": editor, "checker": vlm, "actor": vlm}


def write_records(file: Path) -> Path:
    """Write made-up scenes, as LAION-SG writes its own."""
    file.write_text(json.dumps([_record(number) for number in range(64)]), encoding="utf-8")
    return file


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


_ALTERNATE = {"stages": "[{stage: alternate, updates: 4}]", "learner.keep": "true"}
_TWO_RANKS = {"learner.actor.ranks": "2", "learner.editor.ranks": "2"}
_OWN = {  # of a preset
    "one-gpu": _ALTERNATE,
    "eight-gpus": {"learner.editor.ranks": "2"},
    "qwen-image-edit": {"learner.editor.ranks": "2", "editor.source_size": "96"},
    "cluster": {**_TWO_RANKS, "sync.editor": "gloo"},
}


def overrides(preset: str, folder: Path) -> list[str]:
    """What `--set` takes for a folder that `build` has filled."""
    models = {"flux": "flux", "editor": "editor", "checker": "vlm", "actor": "vlm"}
    own = {f"models.{role}": str((folder / name).resolve()) for role, name in models.items()}
    if PRESETS[preset].editor is None:
        del own["models.editor"]
    changed = {**own, "data.path": str((folder / _RECORDS).resolve()), **SIZES, **_OWN[preset]}
    return [f"{key}={value}" for key, value in changed.items()]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.preset.stem not in PRESETS:
        parser.error(f"{given.preset}: tiny models are there for {', '.join(PRESETS)}")
    build(given.preset.stem, given.folder)
    sets = [word for override in overrides(given.preset.stem, given.folder) for word in ("--set", override)]
    print(shlex.join(["rlrig", "train", str(given.preset), *sets]))


if __name__ == "__main__":
    main()
