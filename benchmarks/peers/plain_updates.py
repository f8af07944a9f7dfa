"""The editor's updates by a plain PyTorch loop, written as flow_grpo's script for FLUX.1 Kontext is: sample, score, and
learn from the groups with a signal."""

from __future__ import annotations

import numpy as np
import torch

from actors.flow_path import FlowSde
from benchmarks.peers.turns import Turns
from benchmarks.peers.work import Work
from benchmarks.training_batches import editor_sample
from learner.advantages import group_advantages, has_signal
from learner.flow_policy import FlowPolicy
from learner.samples import EditorSample
from rollout.seeds import derive_seed


def train(work: Work, turns: Turns, updates: int) -> None:
    """So many updates, each when `turns` says so."""
    config, size = work.config, work.config.rollout.group_size
    learner, editor = config.learner.editor, config.editor
    policy = FlowPolicy(config.models.edits_with, learner, image_size=config.diffuser.size.plain)
    work.models.editor.model.pipe.transformer = policy.module  # one set of weights samples and learns
    sde = FlowSde(editor.eta, editor.steps, editor.sde_window)
    parameters = [one for one in policy.module.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, learner.learning_rate, learner.betas, weight_decay=learner.weight_decay)
    for _ in range(updates):
        turns.wait()
        states = work.states(config.rollout.prompts_per_update)
        with work.clock.part("generation"):
            answers = work.models.actor.reflect(
                [state.image for state in states],
                [state.request for state in states],
                temperature=config.rollout.sampling_temperature,
                seeds=[derive_seed(config.seed, "answer", state.prompt, 0, 0) for state in states],
            )
        told = [one[0].reflection.edit_prompt if one[0].reflection else None for one in answers for _ in range(size)]
        starts = [state for state in states for _ in range(size)]
        noise = [derive_seed(config.seed, "edit", state.prompt, 0, i) for state in states for i in range(size)]
        edits, rewards = work.edits(starts, told, noise, sde)
        samples: list[EditorSample] = []
        for first in range(0, len(starts), size):
            group = range(first, first + size)
            values = np.array([rewards[member] for member in group])
            if has_signal(values):
                for member, advantage in zip(group, group_advantages(values), strict=True):
                    edit, image = edits[member], starts[member].image
                    assert edit is not None, "a group without an answer has equal rewards"
                    samples.append(editor_sample(image, str(told[member]), edit, float(advantage)))
        with work.clock.part("learning"):
            batches = policy.batches(samples)
            count = sum(batch.count for batch in batches)
            for batch in batches:
                evaluation = policy.evaluate(policy.module, batch)
                loss, _ = policy.loss(batch, evaluation, batch.rollout_log_probs, count)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, learner.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        turns.done()
    turns.wait()
