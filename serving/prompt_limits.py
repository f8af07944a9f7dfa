"""Which prompts a run's models can take, as far as their folders say: the words that their tokenizers know, and what
fits into the Actor's context. Nothing is known of models on the hub."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenes.dialogues.dialogue import SHAPES, Dialogue
from serving.model_folder import BrokenModelFolder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from scenes.scene_graph import AnyRequirement, SceneGraph

_IMAGE_MARKS = 3  # what stands around the tokens of an image in the prompts of Idefics3


@dataclass(frozen=True)
class PromptLimits:
    """What the folders of a Diffuser and an Actor say of prompts.

    Attributes:
        drawer: folder of the pipeline that draws.
        actor: folder of the Actor.
        context: most tokens of a request to the Actor, where a run file says so; else its model does.
        prompt_tokens: tokens of a prompt that the Diffuser reads, `diffuser.max_prompt_tokens`; it does not see others.
        dialogue, system_prompt: of the Actor.
    """

    drawer: str
    actor: str
    context: int | None = None
    prompt_tokens: int | None = None
    dialogue: Dialogue = SHAPES
    system_prompt: str | None = None

    def refusal(self, graph: SceneGraph, drawn: bool = True) -> str | None:
        """Why the models cannot take a scene graph; None where they can, or where it is not known.

        Args:
            drawn: whether the Diffuser draws the first image, and has to read the whole prompt.

        Raises:
            BrokenModelFolder: a tokenizer or a configuration that cannot be read.
        """
        words = dict.fromkeys(
            [*graph.names, *(word for one in graph.requirements for word in (*one.items, *one.terms))]
        )
        unknown = [one for one in words if self._drawer_misses(one)]
        if unknown:
            close = difflib.get_close_matches(unknown[0], self._drawer_names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; they know for example {self._examples}"
            return f"the models do not know {', '.join(map(repr, unknown[:5]))}{hint}"
        return (self._beyond_drawer(graph) if drawn else None) or self._beyond_actor(graph)

    def _beyond_drawer(self, graph: SceneGraph) -> str | None:
        tokenizer, _ = self._drawer_tokenizer
        if self.prompt_tokens is None or tokenizer is None:
            return None
        needed = len(tokenizer.encode(graph.drawing).tokens)
        if needed <= self.prompt_tokens:
            return None
        return (
            f"it is {needed} tokens to the Diffuser, which reads the first {self.prompt_tokens} "
            "(diffuser.max_prompt_tokens); ask for less"
        )

    def _beyond_actor(self, graph: SceneGraph) -> str | None:
        if self._context is None or self._actor_tokenizer is None:
            return None
        most, needed = self._context, self._tokens_of(graph.requirements)
        if needed < most:
            return None
        count, without = len(graph.requirements), self._tokens_of(())
        fits = int((most - 1 - without) * count / (needed - without))
        return (
            f"it has {count} requirements, which are {needed} tokens to the Actor, whose context holds {most}; ask for "
            f"at most {fits} of such a length"
        )

    def _drawer_misses(self, name: str) -> bool:
        tokenizer, unknown = self._drawer_tokenizer
        if tokenizer is None or unknown is None:
            return False
        return unknown in tokenizer.encode(name, add_special_tokens=False).tokens

    @cached_property
    def _drawer_tokenizer(self) -> tuple[Tokenizer | None, str | None]:
        """That of the Diffuser's prompts, and its token for what it does not know, where its words are all it knows."""
        for part in ("tokenizer_2", "tokenizer"):
            file = Path(self.drawer) / part / "tokenizer.json"
            if file.is_file():
                model = _json(file).get("model", {})
                return read_tokenizer(file), model["unk_token"] if model.get("type") == "WordLevel" else None
        return None, None

    @cached_property
    def _drawer_names(self) -> list[str]:
        tokenizer, unknown = self._drawer_tokenizer
        if tokenizer is None or unknown is None:
            return []
        vocabulary = tokenizer.get_vocab()
        words = sorted(vocabulary, key=vocabulary.__getitem__)
        return [word.replace("_", " ") for word in words if word[:1].isalnum()]

    @property
    def _examples(self) -> str:
        return ", ".join(repr(name) for name in self._drawer_names[-4:])

    @cached_property
    def _context(self) -> int | None:
        file = Path(self.actor) / "config.json"
        if self.context is not None or not file.is_file():
            return self.context
        values = _json(file)
        inner = values.get("text_config", {})
        most = inner.get("max_position_embeddings", values.get("max_position_embeddings"))
        return most if isinstance(most, int) else None

    def _tokens_of(self, requirements: tuple[AnyRequirement, ...]) -> int:
        """Tokens of the longest question about requirements: with all of them unmet, and with an image."""
        if self._actor_tokenizer is None:
            return 0
        asked = self.dialogue.request(requirements, requirements)
        texts = [asked] if self.system_prompt is None else [self.system_prompt, asked]
        encode = self._actor_tokenizer.encode
        return self._tokens_around + sum(len(encode(text, add_special_tokens=False).tokens) for text in texts)

    @cached_property
    def _actor_tokenizer(self) -> Tokenizer | None:
        file = Path(self.actor) / "tokenizer.json"
        return read_tokenizer(file) if file.is_file() else None

    @cached_property
    def _tokens_around(self) -> int:
        """Tokens of the image and of the chat template's marks, as far as the folder says."""
        file = Path(self.actor) / "processor_config.json"
        image = _json(file).get("image_seq_len") if file.is_file() else None
        return _IMAGE_MARKS + image + len(("<user>", "<end>", "<assistant>")) if isinstance(image, int) else 0


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, without the padding and cutting that the file may ask for.

    Raises:
        BrokenModelFolder: it cannot be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no class of its own
        raise BrokenModelFolder(f"{file} cannot be read: {str(error)[:200]}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def single_tokens(folder: str, words: Sequence[str]) -> list[str] | None:
    """Those of `words` that are one token each to the model in a folder; None where it has no `tokenizer.json`.

    Raises:
        BrokenModelFolder: the file cannot be read.
    """
    file = Path(folder) / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer = read_tokenizer(file)
    unknown = _json(file).get("model", {}).get("unk_token")
    found = {word: tokenizer.encode(word, add_special_tokens=False).tokens for word in words}
    return [word for word, tokens in found.items() if len(tokens) == 1 and tokens[0] != unknown]


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenModelFolder(f"{file} cannot be read: {str(error)[:200]}") from error
    return values if isinstance(values, dict) else {}
