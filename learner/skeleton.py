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
        from diffusers import FluxTransformer2DModel

        settings = FluxTransformer2DModel.load_config(model_path, subfolder="transformer")
        return FluxTransformer2DModel.from_config(settings)
