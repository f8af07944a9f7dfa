"""The Actor's updates by TRL's `GRPOTrainer`: transformers generates, the reward function edits and checks."""

from __future__ import annotations

import math
import tempfile
from typing import Any

from datasets import Dataset
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.peers.turns import Turns
from benchmarks.peers.work import Work
from rollout.seeds import derive_seed
from rollout.state import State
from scenes.dialogue import UnparsableAnswer


def train(work: Work, turns: Turns, updates: int) -> None:
    """So many updates, each when `turns` says so."""
    config, settings, learner = work.config, work.config.rollout, work.config.learner.actor
    states: dict[int, State] = {}
    members = settings.prompts_per_update * settings.group_size
    at_once = math.gcd(members, learner.micro_batch)

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        new = sorted(set(batch["position"]) - states.keys())
        states.update(zip(new, work.states(len(new)), strict=True))
        found = [states[position] for position in batch["position"]]
        prompts = [[{"role": "user", "content": state.request}] for state in found]
        return {**batch, "prompt": prompts, "image": [Image.fromarray(state.image) for state in found]}

    def reward(completions: list[Any], position: list[int], **_: Any) -> list[float]:
        chosen = [states[one] for one in position]
        seeds = [derive_seed(config.seed, "edit", state.prompt, 0, 0) for state in chosen]
        return work.edits(chosen, [_told(work, one[0]["content"]) for one in completions], seeds)[1]

    class InTurn(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turns.wait()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.done()
            turns.wait()

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            AutoModelForImageTextToText.from_pretrained(config.models.actor),
            reward,
            GRPOConfig(
                folder,
                per_device_train_batch_size=at_once,
                gradient_accumulation_steps=members // at_once,
                num_generations=settings.group_size,
                max_completion_length=settings.max_answer_tokens,
                temperature=settings.sampling_temperature,
                learning_rate=learner.learning_rate,
                max_steps=updates,
                shuffle_dataset=False,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                dataloader_pin_memory=False,
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
            Dataset.from_dict({"position": range((updates + 2) * settings.prompts_per_update)}).with_transform(rows),
            processing_class=AutoProcessor.from_pretrained(config.models.actor),
            callbacks=[InTurn()],
        )
        work.clock.watch(trainer, "_generate", "generation")
        work.clock.watch(trainer, "_generate_and_score_completions", "around generation")
        work.clock.watch(trainer, "training_step", "learning")
        trainer.train()


def _told(work: Work, answer: str) -> str | None:
    try:
        return work.config.dialogue.read(answer).edit_prompt
    except UnparsableAnswer:
        return None
