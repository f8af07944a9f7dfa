"""Text encoders that leave the GPU once they have encoded, and come back when they are asked again."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from accelerate.utils import send_to_device

from actors.gpu import release_gpu_memory

Offload = Literal["none", "cpu"]
_PREFIX = "text_encoder"
_DENOISERS = ("transformer", "transformer_2", "unet")
_HELD = "text_encoders_away"  # attribute of a pipeline whose text encoders leave


class TextEncoders:
    """The text encoders of a pipeline, which are loaded in CPU memory. Each comes to `device` when it is called, and
    all leave before the first denoising step that follows, so that one visit serves everything that is encoded in a
    row. Their weights never change: they stay in CPU memory meanwhile, and to leave is to forget the copy.

    Attributes:
        visits: how often a text encoder has come.
    """

    def __init__(self, pipe: Any, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self.visits = 0
        parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
        self._own = {name: _Kept(part, self.device) for name, part in parts.items() if name.startswith(_PREFIX)}
        self._here: set[str] = set()
        for name in self._own:
            parts[name].register_forward_pre_hook(partial(self._come, name), with_kwargs=True)
        for name in _DENOISERS:
            if name in parts:
                parts[name].register_forward_pre_hook(lambda *_: self.leave())

    @property
    def names(self) -> frozenset[str]:
        """Of the pipeline's parts that they are."""
        return frozenset(self._own)

    @property
    def here(self) -> frozenset[str]:
        """Those that have come and not left."""
        return frozenset(self._here)

    def leave(self) -> None:
        """Be in CPU memory alone."""
        if not self._here:
            return
        for name in self._here:
            self._own[name].forget()
        self._here.clear()
        release_gpu_memory()

    def _come(self, name: str, _: torch.nn.Module, given: Any, named: Any) -> tuple[Any, Any]:
        """Before the forward pass; what it is given comes along, as pipelines bring it to where the text encoder is."""
        if name not in self._here:
            self._own[name].copy_to(self.device)
            self._here.add(name)
            self.visits += 1
        given, named = send_to_device((given, named), self.device)
        return given, named


class _Kept:
    """A module's parameters and buffers in CPU memory, from where a GPU can fetch them at its full speed."""

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        holders: list[dict[str, Any]] = [it for part in module.modules() for it in (part._parameters, part._buffers)]
        self._slots = [(it, name, tensor) for it in holders for name, tensor in it.items() if tensor is not None]
        if device.type == "cuda":
            for _, _, tensor in self._slots:
                tensor.data = tensor.data.pin_memory()

    def copy_to(self, device: torch.device) -> None:
        copies: dict[int, torch.Tensor] = {}  # modules may share one
        for holder, name, tensor in self._slots:
            if id(tensor) not in copies:
                copy = tensor.data.to(device, non_blocking=True)
                is_parameter = isinstance(tensor, torch.nn.Parameter)
                copies[id(tensor)] = torch.nn.Parameter(copy, requires_grad=False) if is_parameter else copy
            holder[name] = copies[id(tensor)]

    def forget(self) -> None:
        for holder, name, tensor in self._slots:
            holder[name] = tensor


def place(pipe: Any, device: str, offload: Offload = "none") -> TextEncoders | None:
    """Move a pipeline that was just loaded to a device; with `offload`, all but its text encoders, which are returned.

    Raises:
        ValueError: `offload` is neither `none` nor `cpu`.
    """
    if offload not in ("none", "cpu"):
        raise ValueError(f"text_offload is {offload!r}; it must be 'none' or 'cpu'")
    if offload == "none":
        pipe.to(device)
        return None
    texts = TextEncoders(pipe, device)
    setattr(pipe, _HELD, texts)
    move(pipe, device)
    return texts


def move(pipe: Any, device: str | torch.device) -> None:
    """Move a pipeline to another device, but for text encoders that are there only while they encode."""
    texts: TextEncoders | None = getattr(pipe, _HELD, None)
    if texts is None:
        pipe.to(device)
        return
    texts.leave()
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module) and name not in texts.names:
            part.to(device)
