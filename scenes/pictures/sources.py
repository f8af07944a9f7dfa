"""The images that an edit is given: the one that it edits, and others beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenes.pictures.size import PictureSize


def sources_of(image: np.ndarray) -> list[np.ndarray]:
    """The images (H, W, 3) of an edit: one is given as it is, K of them as (K, H, W, 3)."""
    return [image] if image.ndim == 3 else list(image)


def check_sources(images: Sequence[np.ndarray], size: PictureSize, most: int) -> None:
    """Look at what a call is given, an entry for each edit.

    Args:
        most: images that an edit may be given.

    Raises:
        ValueError: pixels of another size or type, too many images, or more for one edit than for another.
    """
    for index, image in enumerate(images):
        if image.shape[-3:] != size.shape or image.dtype != np.uint8 or image.ndim not in (3, 4):
            raise ValueError(
                f"image {index} is {image.dtype} of shape {image.shape}; expected uint8 of shape {size.shape}: "
                "resize it, or set image_size to what the model was trained for"
            )
        count = len(sources_of(image))
        if not 1 <= count <= most:
            raise ValueError(f"image {index} is {count} images; an edit with this model takes at most {most}")
        if count != (first := len(sources_of(images[0]))):
            raise ValueError(f"image {index} is {count} images, and image 0 is {first}; give each edit as many")
