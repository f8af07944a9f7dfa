"""What the network that trains has to do in an update: forward passes over its samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.gpu_round.flops import Flops, flow_pass, vlm_pass
from learner.samples import ActorSample, EditorSample
from presets.memory.image_models import geometry
from presets.memory.sizes import Sizes
from presets.run_config import RunConfig
from serving.generation import messages


def forward(policy: str, samples: Sequence[Any], config: RunConfig, sizes: Sizes) -> Flops:
    """Operations of the forward passes of an update of a policy, `actor` or `editor`.

    Raises:
        UnknownSize: the model is of a kind whose operations are not known.
    """
    return of_edits(samples, config, sizes) if policy == "editor" else of_answers(samples, config, sizes)


def of_edits(samples: Sequence[EditorSample], config: RunConfig, sizes: Sizes) -> Flops:
    """One pass for each stochastic step of each edit. Raises as `forward`."""
    model = sizes.model(config.models.edits_with)
    one = flow_pass(model.part("transformer"), geometry(config, config.editor, model))
    return one * sum(len(sample.path) for sample in samples)


def of_answers(samples: Sequence[ActorSample], config: RunConfig, sizes: Sizes) -> Flops:
    """One pass over each answer with its prompt; answers of a micro-batch share the image of a prompt. Padding does not
    count. Raises as `forward`."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(config.models.actor)
    system, size = config.actor_vlm.system_prompt, config.learner.actor.micro_batch
    asked: dict[tuple[bytes, str], tuple[int, int]] = {}  # tokens and patches
    lengths, patches = [], []
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        keys = [(sample.image.tobytes(), sample.prompt) for sample in part]
        for key, sample in zip(keys, part, strict=True):
            if key not in asked:
                asked[key] = _prompt(processor, sample, system)
        lengths += [asked[key][0] + len(sample.token_ids) - 1 for key, sample in zip(keys, part, strict=True)]
        patches += [asked[key][1] for key in dict.fromkeys(keys)]
    return vlm_pass(sizes.model(config.models.actor).part(""), lengths, patches)


def _prompt(processor: Any, sample: ActorSample, system: str | None) -> tuple[int, int]:
    """Tokens of a prompt with its image, and patches of the image."""
    text = processor.apply_chat_template(messages(sample.prompt, system), add_generation_prompt=True)
    given = processor(
        text=[text], images=[[Image.fromarray(sample.image)]], add_special_tokens=False, return_tensors="np"
    )
    return given["input_ids"].shape[1], int(np.prod(given["image_grid_thw"]))
