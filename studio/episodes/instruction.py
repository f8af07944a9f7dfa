"""Prompts that tell the editor what to do, and the one edit that they ask for."""

from __future__ import annotations

import re

from rollout.course import Change, Course
from rollout.seeds import derive_seed
from rollout.state import Episode, Frame
from scenes.harmless_text import steering
from scenes.requirements_reader import Impossible, NotUnderstood
from scenes.scene_graph import Item, SceneGraph
from scenes.vocabulary.vocabulary import Vocabulary
from studio.episodes.service import Ask

# Requirements begin with an item. A prompt that begins with one of these words is for the editor, also where the words
# after it could be read as a requirement of an item called "move red circle".
_VERBS = re.compile(
    r"\s*(?:please\s+)?(?:move|shift|slide|push|pull|drag|swap|exchange|replace|remove|delete|erase|add|insert|change"
    r"|turn|recolou?r|enlarge|shrink|rotate|resize|flip)\s",
    re.IGNORECASE,
)
# More of them, for models that take any relation: what follows could be one to them.
_MORE_VERBS = re.compile(
    r"\s*(?:please\s+)?(?:put|place|give|make|paint|set|take|let|hide|brighten|darken|blur|crop)\s", re.IGNORECASE
)
NOTHING_REQUIRED = SceneGraph("prompt", (Item(0, "picture"),), ())
"""The scene graph of an episode that follows an instruction."""


def is_instruction(prompt: str, vocabulary: Vocabulary) -> bool:
    """Whether a prompt beside an image is an instruction, as `move the red circle left of the blue square`, and no list
    of requirements: it begins with what the editor should do, or no part of it can be read as a requirement."""
    if not vocabulary.predicates and steering(prompt):
        return False
    if _VERBS.match(prompt) or (not vocabulary.predicates and _MORE_VERBS.match(prompt)):
        return True
    try:
        vocabulary.read(prompt)
    except NotUnderstood as error:
        return not error.understood
    except Impossible:
        return False
    return False


def instructed(ask: Ask, seed: int, episode: Episode) -> Course:
    """The given image, then one edit of it as the instruction says. Nothing is checked, as nothing is required."""
    assert ask.image is not None
    episode.frames.append(Frame(ask.image, []))
    edit_seed = derive_seed(seed, "edit", ask.graph.img_id, 0)
    image = yield Change(ask.image, ask.instruction, edit_seed)
    episode.frames.append(Frame(image, [], edit_prompt=ask.instruction, seed=edit_seed))
    return episode
