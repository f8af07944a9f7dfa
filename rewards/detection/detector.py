"""An open-vocabulary detector of transformers (OWLv2, OWL-ViT, Grounding DINO): phrases in, boxes out.

torch and transformers are imported, and the model is loaded, when the first image comes.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenes.detected.boxes import Box, Detection

_OWL = ("owlv2", "owlvit")
_DINO = ("grounding-dino", "mm-grounding-dino")
_OWL_THRESHOLD, _DINO_THRESHOLD = 0.1, 0.25
"""The cuts that transformers uses for these families where nothing else is said; VISOR used 0.1 with OWL-ViT."""
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
_OWL_WORDS = "a photo of a "  # before a phrase, as in the captions that these models learned from


@dataclass(frozen=True)
class DetectorSettings:
    """What detects, and how.

    Attributes:
        model: folder with the model and its processor, as `save_pretrained` writes them. Nothing is downloaded.
        threshold: least score of a detection, from 0 to below 1; None: 0.1 for OWL, 0.25 for Grounding DINO.
        batch: images, or for Grounding DINO pairs of an image and a phrase, that the model sees at a time.
        device: a torch device such as `cpu` or `cuda`; None: `cuda` where there is one.

    Raises:
        ValueError: a value out of its range, a folder that is not there, or one with another kind of model. The message
            names the key.
    """

    model: str
    threshold: float | None = None
    batch: int = 8
    device: str | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ValueError(f"threshold: {self.threshold} is refused: must be from 0 to below 1")
        if self.batch < 1:
            raise ValueError(f"batch: {self.batch} is refused: must be at least 1")
        if self.device is not None and not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device: {self.device!r} is refused: write cpu, cuda, mps or xpu, or cuda:1")
        if (family := self.family) not in _OWL + _DINO:
            raise ValueError(
                f"model: {self.model!r} is refused: its config.json says model_type {family!r}; give a detector of one "
                f"of the types {', '.join(_OWL + _DINO)}"
            )

    @property
    def family(self) -> str:
        """`model_type` of the model's config.json."""
        file = Path(self.model).expanduser() / "config.json"
        if not file.is_file():
            raise ValueError(
                f"model: {self.model!r} is refused: there is no folder with a config.json; download a detector, for "
                "example with `hf download google/owlv2-base-patch16-ensemble --local-dir owlv2`, and name its folder"
            )
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["model_type"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"model: {self.model!r} is refused: {file} names no model_type ({error!r})") from error

    @property
    def least_score(self) -> float:
        """The threshold that counts."""
        if self.threshold is not None:
            return self.threshold
        return _OWL_THRESHOLD if self.family in _OWL else _DINO_THRESHOLD


@dataclass(frozen=True)
class _Row:
    """What the model is asked at once: which image, and for what in it."""

    image: int
    phrases: tuple[str, ...]


class Detector:
    """Finds things that phrases name. One call at a time: others wait for it.

    Args:
        settings: which model, and how it is used.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings = settings
        self._family, self._least = settings.family, settings.least_score
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, str] | None = None

    def __call__(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """What is found in each image, the surest first; an empty list where nothing is.

        Args:
            images: uint8 (H, W, 3), of any sizes.
            phrases: what to look for in each of them, each once.

        Returns:
            Detections with a score above the threshold, boxes in the image's pixels and within it. One thing may be
            there several times, see `scenes.detected.boxes.distinct`.

        Raises:
            ValueError: not as many lists of phrases as images, or an image of another shape.
        """
        if len(images) != len(phrases):
            raise ValueError(f"{len(images)} images came with {len(phrases)} lists of phrases; give one for each")
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"image: shape {image.shape} and dtype {image.dtype}; give uint8 (height, width, 3)")
        found: list[list[Detection]] = [[] for _ in images]
        with self._lock:
            for rows in self._batches(phrases):
                for row, detections in zip(rows, self._ask(images, rows), strict=True):
                    found[row.image] += detections
        return [sorted(ones, key=lambda one: -one.score) for ones in found]

    def _batches(self, phrases: Sequence[Sequence[str]]) -> list[list[_Row]]:
        """Rows that go together. OWL takes all phrases of an image at once; rows with fewer ones would be filled up
        with empty phrases, which take boxes from the others, so only rows of one length go together. Grounding DINO
        joins phrases to one text and says in words which of them it means, so it is asked for one at a time."""
        if self._family in _OWL:
            rows = [_Row(k, tuple(ones)) for k, ones in enumerate(phrases) if ones]
        else:
            rows = [_Row(k, (one,)) for k, ones in enumerate(phrases) for one in ones]
        by_length: dict[int, list[_Row]] = defaultdict(list)
        for row in rows:
            by_length[len(row.phrases)].append(row)
        size = self.settings.batch
        return [rows[k : k + size] for rows in by_length.values() for k in range(0, len(rows), size)]

    def _ask(self, images: Sequence[np.ndarray], rows: Sequence[_Row]) -> list[list[Detection]]:
        import torch
        from PIL import Image

        processor, model, device = self._ready()
        pictures = [Image.fromarray(images[row.image]) for row in rows]
        sizes = [(picture.height, picture.width) for picture in pictures]
        owl = self._family in _OWL
        if owl:
            text: list[Any] = [[_OWL_WORDS + phrase for phrase in row.phrases] for row in rows]
            longest = model.config.text_config.max_position_embeddings
            how: dict[str, Any] = {"padding": "max_length", "truncation": True, "max_length": longest}
        else:
            text, how = [f"{row.phrases[0].lower()}." for row in rows], {"padding": True, "truncation": True}
        inputs = processor(images=pictures, text=text, return_tensors="pt", **how).to(device)
        with torch.inference_mode():
            outputs = model(**inputs)
        results = processor.post_process_grounded_object_detection(
            outputs, threshold=self._least, target_sizes=sizes, **({} if owl else {"input_ids": inputs["input_ids"]})
        )
        return [_detections(row, result, size, owl) for row, result, size in zip(rows, results, sizes, strict=True)]

    def load(self) -> None:
        """Load the model, where it is not."""
        with self._lock:
            self._ready()

    def _ready(self) -> tuple[Any, Any, str]:
        """Processor, model and device."""
        if self._loaded is None:
            import torch
            from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

            folder = str(Path(self.settings.model).expanduser())
            device = self.settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32
            )
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self._loaded = processor, model.eval().to(device), device
        return self._loaded


def _detections(row: _Row, result: Any, size: tuple[int, int], labelled: bool) -> list[Detection]:
    """The detections of one row, of what transformers makes of the model's output."""
    height, width = size
    places = result["labels"].tolist() if labelled else [0] * len(result["scores"])
    rows = zip(places, result["boxes"].tolist(), result["scores"].tolist(), strict=True)
    found = [Detection(row.phrases[place], Box(*box).within(width, height), score) for place, box, score in rows]
    return [one for one in found if one.box.area > 0]
