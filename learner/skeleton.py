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

            vlm: torch.nn.Module = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(model_path))
            return vlm
        import diffusers

        _, name = diffusers.DiffusionPipeline.load_config(model_path)["transformer"]
        kind = getattr(diffusers, name)
        transformer: torch.nn.Module = kind.from_config(kind.load_config(model_path, subfolder="transformer"))
        return transformer
