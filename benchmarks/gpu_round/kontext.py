"""An editor of FLUX.1 Kontext's size beside the round, whose images a second were measured before."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu_round.flops import flow_pass
from benchmarks.gpu_round.found import KONTEXT, Found
from benchmarks.gpu_round.sizes import Device, Size
from benchmarks.large_editor import Costs, Measured, measure
from benchmarks.tiny_families.flux import build_flux_kontext
from presets.memory.image_models import geometry
from presets.memory.sizes import Sizes
from presets.places import BASE

_PRESET = BASE / "presets" / "eight-gpus.yaml"


def add_kontext(found: Found, folder: Path, size: Size, device: Device) -> None:
    """Make the pipeline in `folder`, edit, learn twice from the edits, and keep what it cost. But for size `real` it is
    a tiny one."""
    if size != "real" and not (folder / "model_index.json").is_file():
        build_flux_kontext(folder)
    edits, pixels = (8, None) if size == "real" else (2, 64)
    add(found, measure(_PRESET, folder, Measured(), edits=edits, image_size=pixels, device=device, again=False))


def add(found: Found, costs: Costs) -> None:
    """Keep costs. Images a second are edits in the seconds of sampling them and of the second update from them, by one
    card that does both in turns."""
    config, stats = costs.config, costs.updates[-1]
    model = Sizes(ask_hub=False).model(config.models.edits_with)
    one = flow_pass(model.part("transformer"), geometry(config, config.editor, model))
    found.updated(KONTEXT, stats, one * stats.terms, config.learner.editor)
    found.images_per_second[KONTEXT] = costs.edits / (costs.edits * costs.edit_s + stats.compute_seconds)
    for name, nbytes in costs.held.items():
        found.held(f"{name}, {KONTEXT}", nbytes, costs.planned[name].known)
