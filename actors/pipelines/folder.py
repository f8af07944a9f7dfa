"""A pipeline's folder: that it is one, and the pipeline in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from actors.gpu import avoid_cudnn_attention

INDEX = "model_index.json"
_REMEDY = "give a folder that a diffusers pipeline's save_pretrained wrote, or a hub id that can be reached"


class ModelLoadError(RuntimeError):
    """A model folder is missing, incomplete, damaged, or of a kind that cannot be used."""


def load_pipeline(
    kind: Any, path: str | Path, dtype: torch.dtype, parts: Callable[[], dict[str, Any]] = dict
) -> DiffusionPipeline:
    """A pipeline, loaded by `kind`, diffusers' class, with the `parts` that it would not load by itself.

    Raises:
        ModelLoadError: it cannot be loaded from `path`; the message says why and what to do.
    """
    avoid_cudnn_attention()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        pipe = kind.from_pretrained(str(path), dtype=dtype, **parts())
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelLoadError(f"model path {str(path)!r} cannot be loaded: {error}; {_REMEDY}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def check_index(path: str | Path) -> None:
    """Refuse a folder that holds no pipeline; a hub id is left to the hub.

    Raises:
        ModelLoadError: it does not exist, or has no index.
    """
    folder = Path(path)
    if not (folder / INDEX).is_file() and (folder.exists() or len(folder.parts) != 2):
        what = f"has no {INDEX}" if folder.is_dir() else "does not exist"
        raise ModelLoadError(f"model path {str(path)!r} {what}; {_REMEDY}")
