"""What of a turn's pictures stays in a run's folder."""

from __future__ import annotations

from typing import Literal, get_args

from scenes.section import Section

Kept = Literal["all", "images", "latents", "none"]
KEPT: tuple[Kept, ...] = get_args(Kept)


class KeepConfig(Section):
    """What of the turns' pictures stays in the run's folder, by the policy that trains. Texts, tokens, rewards and
    seeds always stay. `rlrig plan` says how much disk each choice takes."""

    actor: Kept = "all"
    """While the Actor trains: `images`, as PNG; `latents`, the editor's denoising steps, of which there are none while
    it does not train; `all` for both, `none` for neither."""
    editor: Kept = "all"
    """While the editor trains. Its latents take several times as much disk as its images; the report and the pages need
    no more than `images`, and only a replay of the training needs `latents`."""

    def of(self, policy: str) -> Kept:
        """What stays while `policy` trains."""
        kept: Kept = getattr(self, policy)
        return kept

    def images(self, policy: str) -> bool:
        """Whether images stay while `policy` trains."""
        return self.of(policy) in ("all", "images")

    def latents(self, policy: str) -> bool:
        """Whether latents stay while `policy` trains."""
        return self.of(policy) in ("all", "latents")
