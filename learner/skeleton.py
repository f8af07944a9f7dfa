"""The network of a policy without its weights, to look at before anything is loaded."""

from __future__ import annotations

import torch


def skeleton(policy: str, model_path: str) -> torch.nn.Module:
    """The module that the learner of `policy` (`actor` or `editor`) would train, on torch's meta device.

    Raises:
        OSError, ValueError: there is no configuration of such a model.
    """
    with torch.device("meta"):
        if policy == "actor":
            from transformers import AutoConfig, AutoModelForImageTextToText

            return AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(model_path))
        import diffusers

        _, name = diffusers.DiffusionPipeline.load_config(model_path)["transformer"]
        transformer = getattr(diffusers, name)
        return transformer.from_config(transformer.load_config(model_path, subfolder="transformer"))
