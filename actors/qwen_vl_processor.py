"""The processor of a Qwen-VL model where torchvision is missing: images and text, no videos, which nothing here has."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, ProcessorMixin, Qwen2_5_VLProcessor, Qwen2VLProcessor
from transformers.utils import is_torchvision_available

_KINDS: dict[str, type[ProcessorMixin]] = {"qwen2_vl": Qwen2VLProcessor, "qwen2_5_vl": Qwen2_5_VLProcessor}


def load_processor(path: str | Path) -> ProcessorMixin:
    """The processor of a transformers model, from its folder or hub id.

    Raises:
        OSError, ValueError: there is none.
    """
    if not is_torchvision_available() and (kind := _KINDS.get(AutoConfig.from_pretrained(str(path)).model_type)):
        return image_processor_only(kind).from_pretrained(str(path))
    return AutoProcessor.from_pretrained(str(path))


@cache
def image_processor_only(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """A Qwen-VL processor class without the video part, whose import needs torchvision. In files it has the name of
    `kind`, so that what is saved can be loaded as that wherever torchvision is."""

    class ImagesOnly(kind):
        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            super().__init__(image_processor, tokenizer, None, chat_template=chat_template)

        def save_pretrained(self, save_directory: str | Path, **settings: Any) -> list[str]:
            files = super().save_pretrained(save_directory, **settings)
            # A video processor that has no settings of its own is loaded with those of the image processor.
            return files + self.image_processor.save_pretrained(save_directory)

    for name in ("__name__", "__qualname__", "__module__"):
        setattr(ImagesOnly, name, getattr(kind, name))
    return ImagesOnly
