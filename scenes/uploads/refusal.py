"""Why an upload is not taken."""

from __future__ import annotations


class UploadRefused(ValueError):
    """An upload that is not decoded, or that could not be.

    Args:
        code: `unsupported_image`, `image_too_large`, `image_too_costly`, `animated_image`, `image_not_square`,
            `image_of_other_ratio` or `invalid_image`.
        message: what is wrong and what to do about it; it quotes neither bytes nor paths.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message
