"""Sizes of a model on the hub: the headers of its weights and its configuration files, read over HTTP in ranges."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from presets.memory.model_size import ModelSize, UnknownSize, size_of_tensors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

INDEX = "model_index.json"
WEIGHTS = ".safetensors"
_CONFIG = "config.json"
_READ = (".json", WEIGHTS, ".txt", ".model", ".jinja")
_VARIANT = re.compile(r"\.(fp16|bf16|fp8|non_ema)(-|\.)")
_ANSWER_S = 10.0  # one answer
_MODEL_S = 60.0  # all of a model

Result = TypeVar("Result")


class Unreachable(UnknownSize):
    """The hub does not answer, whichever model is asked for.

    Args:
        name: the model that was asked for.
        reason: why it does not answer.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"hf://{name} is not on this machine, and {reason}; `rlrig fetch` brings it here", reason)


def hub_parts(name: str, deadline_s: float = _MODEL_S) -> tuple[str, dict[str, ModelSize]]:
    """Pipeline class ("" where it is none) and parts of `owner/name`; its weights stay on the hub.

    Raises:
        UnknownSize: it is not there, it is gated, or a header cannot be read; the message says what to do.
        Unreachable: the hub did not answer, or not within `deadline_s` seconds.
    """
    return _within(deadline_s, name, lambda: _asked(name, lambda: _read(name)))


def files_read(names: Sequence[str], parts: Sequence[str] | None) -> list[str]:
    """Those of a repository's files that diffusers or transformers read.

    Args:
        names: all files.
        parts: the folders that a pipeline's index names; None: it is no pipeline, and its files lie at the top.
    """
    folders = {"."} if parts is None else set(parts)
    found = [
        name
        for name in names
        if str(PurePosixPath(name).parent) in folders and name.endswith(_READ) and not _VARIANT.search(name)
    ]
    whole = [name for name in found if PurePosixPath(name).name.startswith(("model", "diffusion_pytorch_model"))]
    if parts is None and any(name.endswith(WEIGHTS) for name in whole):  # else the same weights in another layout, too
        found = [name for name in found if not name.endswith(WEIGHTS) or name in whole]
    return [INDEX, *found] if parts is not None else found


def parts_of_index(said: Any) -> list[str]:
    """The parts of a pipeline that have a folder, by its index."""
    return [part for part, kind in said.items() if isinstance(kind, list) and len(kind) == 2 and kind[0]]


def _read(name: str) -> tuple[str, dict[str, ModelSize]]:
    from huggingface_hub import HfApi

    api = HfApi()
    info = api.model_info(name, files_metadata=True, timeout=_ANSWER_S)
    names = [one.rfilename for one in info.siblings or ()]
    revision = str(info.sha)
    with tempfile.TemporaryDirectory() as folder:  # the cache would hold half a model otherwise

        def settings(file: str) -> dict[str, Any]:
            if file not in names:
                return {}
            place = api.hf_hub_download(name, file, revision=revision, local_dir=folder, etag_timeout=_ANSWER_S)
            found = json.loads(Path(place).read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"{file} holds no mapping")
            return found

        index = settings(INDEX)
        files = files_read(names, parts_of_index(index) if index else None)
        weights: dict[str, list[str]] = {}
        for file in files:
            if file.endswith(WEIGHTS):
                weights.setdefault(str(PurePosixPath(file).parent), []).append(file)
        if not weights:
            raise UnknownSize(f"hf://{name} has no {WEIGHTS} weights; name another model")
        parts = {}
        for part, of_part in weights.items():
            config = settings(_CONFIG if part == "." else f"{part}/{_CONFIG}")
            parts["" if part == "." else part] = _size(api, name, revision, of_part, config)
    return str(index.get("_class_name", "")), parts


def _size(api: HfApi, name: str, revision: str, files: Sequence[str], settings: dict[str, Any]) -> ModelSize:
    tensors = []
    for file in files:
        header = api.parse_safetensors_file_metadata(name, file, revision=revision, timeout=_ANSWER_S)
        tensors += [(key, tuple(it.shape), str(it.dtype)) for key, it in header.tensors.items()]
    return size_of_tensors(tensors, settings)


def _asked(name: str, ask: Callable[[], Result]) -> Result:
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        SafetensorsParsingError,
    )

    try:
        return ask()
    except GatedRepoError as error:
        reason = "it is gated: accept its terms at the hub, and set HF_TOKEN to your token"
        raise UnknownSize(f"hf://{name}: {reason}", reason) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UnknownSize(f"hf://{name} is not on the hub; check its name, and HF_TOKEN if it is private") from error
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise UnknownSize(f"hf://{name}: the hub refuses it: {error}; check HF_TOKEN") from error
        raise Unreachable(name, f"the hub fails: {error}") from error
    except (LocalEntryNotFoundError, httpx2.HTTPError, ConnectionError) as error:
        said = next(iter(str(error.__cause__ or error).strip().splitlines()), type(error).__name__)
        raise Unreachable(name, f"the hub cannot be reached: {said}") from error
    except (SafetensorsParsingError, ValueError, OSError) as error:
        raise UnknownSize(f"hf://{name}: its files cannot be read: {error}") from error


def _within(deadline_s: float, name: str, ask: Callable[[], Result]) -> Result:
    """What `ask` returns or raises, in a thread of its own that nothing waits for longer."""
    found: list[Result] = []
    raised: list[UnknownSize] = []

    def run() -> None:
        try:
            found.append(ask())
        except UnknownSize as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name=f"sizes of {name}")
    thread.start()
    thread.join(deadline_s)
    if raised:
        raise raised[0]
    if not found:
        raise Unreachable(name, f"the hub did not say its size within {deadline_s:g} s")
    return found[0]
