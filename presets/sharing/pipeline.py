"""When the Inverse Diffuser's workers can be the Diffuser, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from presets.settings import RunSettings

CALLED_ALIKE = ("guidance", "max_prompt_tokens", "dtype", "family", "text_offload")
"""How a pipeline is called that one process holds once."""

_PROCESSES = ("workers", "max_workers", "cpus", "gpus", "offload")


def unshareable_pipeline(config: RunSettings) -> list[str]:
    """What `diffuser.share` cannot go with: each line names the key, its value and a way out."""
    if not config.diffuser.share:
        return []
    problems = []
    if config.models.edits_with != config.models.flux:
        problems.append(
            f"diffuser.share: true is refused: models.editor {config.models.editor!r} is not models.flux "
            f"{config.models.flux!r}. Leave models.editor out, or diffuser.share"
        )
    if "editor" in config.trained and config.learner.editor.lora is None:
        problems.append(
            "diffuser.share: true is refused: without learner.editor.lora all weights of the editor change, and with "
            "them the drawings. Set learner.editor.lora, or leave diffuser.share out"
        )
    if config.editor.most_workers > config.editor.workers:
        problems.append(
            f"diffuser.share: true is refused with editor.max_workers {config.editor.max_workers}: who draws is fixed. "
            "Leave out the one or the other"
        )
    for key in CALLED_ALIKE:
        mine, its = getattr(config.diffuser, key), getattr(config.editor, key)
        if mine != its:
            problems.append(
                f"diffuser.{key}: {mine!r} is refused with diffuser.share: the editor's workers draw with editor.{key} "
                f"{its!r}. Leave it out"
            )
    default = type(config.diffuser)()
    return problems + [
        f"diffuser.{key}: {value!r} is refused with diffuser.share: the editor's workers draw. Leave it out"
        for key in _PROCESSES
        if (value := getattr(config.diffuser, key)) != getattr(default, key)
    ]
