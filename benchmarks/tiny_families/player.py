"""Tiny Qwen-VL models that can play: they answer requests of the general dialogue in the form that is asked for, and
questions about a picture with yes or no. What they say means little.

They lie beside this file, trained. `python -m benchmarks.tiny_families.player qwen2.5 FOLDER` trains one anew, in a
minute.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.tiny_families.qwen_vl import qwen3_vl_model, qwen_vl_model, qwen_vl_processor
from learner.pretraining.loop import LoopSettings, run_loop
from scenes.dialogue import NO, YES
from scenes.dialogues.general import General
from scenes.scene_graph import Requirement
from serving.generation import messages

_PLAYERS = Path(__file__).with_name("players")
_VOCABULARY = 900  # tokens; the dialogue's own words are one token each
_THINGS = ("cat", "dog", "tree", "red car", "lamp", "blue chair", "boat", "bird", "house", "white cup")
_RELATIONS = ("left of", "right of", "above", "below", "in front of", "behind", "on", "near")
_SIZE, _STEPS, _RATE = 64, 260, 2.5e-3
_QUESTIONS, _REQUESTS = 48, 16  # of a step: an answer of one token teaches less than one of twenty
_IGNORED = -100
Lesson = tuple[Image.Image, str | None, str, str]
"""A picture, the system prompt, what is asked, and the answer."""


def player(kind: str, folder: Path) -> Path:
    """Write the trained model of a kind, `qwen2.5` or `qwen3`, into `folder`."""
    shutil.copytree(_PLAYERS / kind, folder)
    return folder


def player_tokenizer(kind: str) -> Any:
    """The tokenizer of that model, to which the dialogue's words are one token each."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_PLAYERS / kind)


def train_player(kind: str, folder: Path, seed: int = 0) -> Path:
    """Make a model of a kind, fine-tune it and write it in bfloat16; what was trained so far is in `folder`-work."""
    from transformers import Qwen2_5_VLProcessor, Qwen3VLProcessor

    dialogue = General()
    processors, models = (
        {"qwen2.5": Qwen2_5_VLProcessor, "qwen3": Qwen3VLProcessor},
        {"qwen2.5": qwen_vl_model, "qwen3": qwen3_vl_model},
    )
    processor = qwen_vl_processor(processors[kind], _tokenizer(dialogue))
    model = models[kind](processor.tokenizer, seed).train()

    def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
        judged = model(**_batch(processor, [_question(dialogue, rng) for _ in range(_QUESTIONS)])).loss
        said = model(**_batch(processor, [_request(dialogue, rng) for _ in range(_REQUESTS)])).loss
        return {"loss": judged + said, "judged": judged.detach(), "said": said.detach()}

    settings = LoopSettings(steps=_STEPS, learning_rate=_RATE, warmup=20, seed=seed)
    run_loop("player", {"player": model}, step, settings, folder.with_name(folder.name + "-work"))
    model.eval().to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def requirements(rng: np.random.Generator) -> tuple[Requirement, ...]:
    """Two to four, made up."""

    def one() -> Requirement:
        first, second = rng.choice(_THINGS, 2, replace=False)
        return Requirement(str(first), str(rng.choice(_RELATIONS)), str(second))

    return tuple(one() for _ in range(rng.integers(2, 5)))


def _picture(rng: np.random.Generator) -> tuple[Image.Image, float]:
    """Noise with two halves, and by how much the left one is brighter."""
    left, right = rng.uniform(0.5, 1.0, 2)
    pixels = rng.integers(0, 256, (_SIZE, _SIZE, 3)) * np.repeat([left, right], _SIZE // 2)[None, :, None]
    return Image.fromarray(pixels.astype(np.uint8)), left - right


def _question(dialogue: General, rng: np.random.Generator) -> Lesson:
    """Is rather answered with yes the brighter the left half is, and rather with no where both are alike."""
    image, brighter = _picture(rng)
    holds = rng.uniform() < 1 / (1 + np.exp(1 - 30 * brighter))
    return image, None, dialogue.question(requirements(rng)[0]), (YES if holds else NO).capitalize()


def _request(dialogue: General, rng: np.random.Generator) -> Lesson:
    wanted = requirements(rng)
    unmet = wanted[: int(rng.integers(1, len(wanted) + 1))]
    told = f"{unmet[0].subject} {unmet[0].predicate} the {unmet[0].object}"
    answer = f"Reflection: The {told} is missing.\nEdit: Put the {told}."
    return _picture(rng)[0], dialogue.system, dialogue.request(wanted, unmet), answer


def _batch(processor: Any, lessons: list[Lesson]) -> dict[str, torch.Tensor]:
    tokenizer = processor.tokenizer
    texts = [
        processor.apply_chat_template(messages(asked, system), add_generation_prompt=True)
        for _, system, asked, _ in lessons
    ]
    ends = [answer + "<|im_end|>" for *_, answer in lessons]
    inputs = processor(
        text=[text + end for text, end in zip(texts, ends, strict=True)],
        images=[[image] for image, *_ in lessons],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    labels = torch.full_like(inputs["input_ids"], _IGNORED)
    lengths = inputs["attention_mask"].sum(1).tolist()
    for row, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        first = length - len(tokenizer(end, add_special_tokens=False).input_ids)
        labels[row, first:length] = inputs["input_ids"][row, first:length]
    return {**inputs, "labels": labels}


def _texts(dialogue: General) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for _ in range(200):
        for _, system, asked, answer in (_question(dialogue, rng), _request(dialogue, rng)):
            yield from (system or "", asked, answer)


def _tokenizer(dialogue: General) -> Any:
    """Qwen's, with merges that were learned from the dialogue alone."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = Qwen2Tokenizer(vocab={}, merges=[]).backend_tokenizer.pre_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain.train_from_iterator(
        _texts(dialogue), trainers.BpeTrainer(vocab_size=_VOCABULARY, initial_alphabet=letters, show_progress=False)
    )
    learned = json.loads(plain.to_str())["model"]
    return Qwen2Tokenizer(vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["qwen2.5", "qwen3"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    train_player(given.kind, given.folder)


if __name__ == "__main__":
    main()
