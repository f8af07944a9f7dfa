"""The network of a policy without its weights, to look at before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def described(settings: Mapping[str, Any], device: str = "meta") -> torch.nn.Module:
    """The module that a config.json describes, on torch's meta device: of diffusers where it has `_class_name`, else of
    transformers, by `architectures` and `model_type`.

    Args:
        device: another one, where the weights are random.

    Raises:
        ValueError, TypeError, AttributeError, LookupError, ImportError, RuntimeError: no such class, or not with these
            settings.
    """
    import diffusers
    import transformers

    with torch.device(device):
        if "_class_name" in settings:
            kind = getattr(diffusers, str(settings["_class_name"]))
            if not issubclass(kind, diffusers.ModelMixin):
                raise ValueError(f"{kind.__name__} is no model of diffusers")
            part: torch.nn.Module = kind.from_config(dict(settings))
            return part
        kind = getattr(transformers, str(settings["architectures"][0]))
        if not issubclass(kind, transformers.PreTrainedModel):
            raise ValueError(f"{kind.__name__} is no model of transformers")
        given = {name: value for name, value in settings.items() if name != "model_type"}
        config = transformers.AutoConfig.for_model(str(settings["model_type"]), **given)
        model: torch.nn.Module = kind(config)
        return model
