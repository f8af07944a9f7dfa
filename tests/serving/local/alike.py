"""Whether two VLMs answer alike: replicas of vLLM, and a model in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scenes.scene_graph import Requirement
from serving.actor import Actor
from serving.checker import Checker
from serving.generation import Vlm

if TYPE_CHECKING:
    from serving.client import VlmClient
    from serving.local.vlm import LocalVlm
    from weights.manifest import WeightUpdate

WANTED = tuple(Requirement(a, "left of", b) for a in ("red circle", "green star") for b in ("blue square", "red star"))
WITHIN = 1e-4


def local(client: VlmClient, adapter: WeightUpdate | None = None) -> LocalVlm:
    """A model in this process in the place of a client's replicas."""
    from serving.local.vlm import LocalVlm  # it loads transformers, which collecting tests should not

    return LocalVlm(client.role, client.settings, adapter)


def assert_reflect_alike(served: Vlm, here: Vlm, images: Sequence[np.ndarray], request: str) -> None:
    """The same greedy answers; probabilities of their tokens differ by 1e-4 at most."""
    theirs, ours = (Actor(vlm).reflect(images, [request] * len(images)) for vlm in (served, here))
    for (their,), (our,) in zip(theirs, ours, strict=True):
        assert (our.token_ids, our.text, our.finished) == (their.token_ids, their.text, their.finished)
        np.testing.assert_allclose(np.exp(our.log_probs), np.exp(their.log_probs), atol=WITHIN, rtol=0)
    assert len({tuple(answer.token_ids) for (answer,) in theirs}) > 1, "these images lead to one answer"


def assert_check_alike(served: Vlm, here: Vlm, images: Sequence[np.ndarray]) -> None:
    """The same yes-probabilities, within 1e-4."""
    wanted = [WANTED] * len(images)
    theirs, ours = (Checker(vlm, least_mass=0.0).satisfaction(images, wanted) for vlm in (served, here))
    np.testing.assert_allclose(ours, theirs, atol=WITHIN, rtol=0)
    assert np.ptp(theirs) > WITHIN, "it says the same of everything"
