"""The configurations that come with the code make networks of the sizes that the hub shows for their weights."""

from __future__ import annotations

import pytest

from presets.memory.model_size import size_of_settings
from presets.memory.published import PIPELINES, VLMS
from presets.places import PRESETS
from presets.yaml_text import parse_yaml

TENSORS = {
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen2.5-VL-32B-Instruct": 33_452_718_336,
    "Qwen/Qwen2.5-VL-72B-Instruct": 73_410_777_344,
    "Qwen/Qwen3-VL-2B-Instruct": 2_127_532_032,
    "Qwen/Qwen3-VL-4B-Instruct": 4_437_815_808,
    "Qwen/Qwen3-VL-8B-Instruct": 8_767_123_696,
    "Qwen/Qwen3-VL-30B-A3B-Instruct": 31_070_754_032,
}
"""Elements of all tensors, as the hub shows them beside the model card."""
PARTS = {
    "black-forest-labs/FLUX.1-dev": {"transformer": 11.9, "text_encoder": 0.123, "text_encoder_2": 4.76, "vae": 0.084},
    "black-forest-labs/FLUX.2-klein-4B": {"transformer": 3.88, "text_encoder": 4.02, "vae": 0.084},
    "black-forest-labs/FLUX.2-klein-9B": {"transformer": 9.08, "text_encoder": 8.19, "vae": 0.084},
    "Tongyi-MAI/Z-Image-Turbo": {"transformer": 6.15, "text_encoder": 4.02, "vae": 0.084},
    "Qwen/Qwen-Image-Edit-2511": {"transformer": 20.43, "text_encoder": 8.29, "vae": 0.127},
}
"""In 10⁹, as the models' authors say them."""


@pytest.mark.parametrize(("name", "elements"), TENSORS.items())
def test_a_vlm_has_as_many_elements_as_the_hub_shows(name, elements):
    size = size_of_settings(VLMS[name])
    assert size.parameters == pytest.approx(elements, rel=1e-9)
    assert size.stored_bytes == 2 * size.parameters
    assert 0.4e9 < size.vision < 0.8e9


@pytest.mark.parametrize(("name", "parts"), PARTS.items())
def test_a_pipeline_has_the_sizes_that_its_authors_say(name, parts):
    _, settings = PIPELINES[name]
    found = {part: size_of_settings(config).parameters / 1e9 for part, config in settings.items()}
    assert found == pytest.approx(parts, rel=0.01)


def test_every_hub_model_of_the_presets_is_there():
    named = set()
    for file in PRESETS.glob("*.yaml"):
        models = parse_yaml(file.read_text(encoding="utf-8"), str(file))["models"]
        named |= {value.removeprefix("hf://") for value in models.values() if str(value).startswith("hf://")}
    assert named
    assert named <= PIPELINES.keys() | VLMS.keys()
